//! A document of definitions, read and checked entry by entry: a [`Plan`] of what to do.

use serde_json::{Map, Value};

use crate::{
    admin::{
        answer::Failure,
        fields,
        node::Node,
        parameters::{self, Parameter},
        permissions::{self, text},
        policies, topic_permissions, users, virtual_hosts,
    },
    broker::{
        Binding, Destination, ExchangeDeclaration, PermissionView, Policy, PolicyKind,
        QueueDeclaration, TopicPermissionView, User,
    },
    model::{ExchangeName, FieldValue, QueueName, RoutingKey, ShortString, VirtualHostName},
};

/// What a document says, by the order in which it is done.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) users: Vec<(ShortString, User)>,
    /// What is said of a virtual host is put beside what is known of it already.
    pub(super) homes: Vec<(VirtualHostName, Object)>,
    pub(super) permissions: Vec<PermissionView>,
    pub(super) topics: Vec<TopicPermissionView>,
    pub(super) globals: Vec<(ShortString, FieldValue)>,
    pub(super) policies: Vec<(VirtualHostName, Policy)>,
    pub(super) parameters: Vec<(VirtualHostName, Parameter)>,
    pub(super) exchanges: Vec<Placed<ExchangeDeclaration>>,
    pub(super) queues: Vec<Placed<QueueDeclaration>>,
    pub(super) bindings: Vec<Placed<Binding>>,
}

/// Something to be declared in a virtual host, and how a refusal names it.
#[derive(Clone, Debug)]
pub(super) struct Placed<T> {
    pub(super) entry: String,
    pub(super) home: VirtualHostName,
    pub(super) what: T,
}

pub(super) type Object = Map<String, Value>;

/// The document while it is read: what its entries may refer to.
struct Reader<'a> {
    node: &'a dyn Node,
    document: &'a Object,
    /// The document is about this virtual host alone, whatever its entries say.
    only: Option<&'a VirtualHostName>,
}

impl Plan {
    /// Reads a document, or of one the part that concerns a virtual host.
    pub(super) fn read(
        node: &dyn Node,
        document: &Object,
        only: Option<&VirtualHostName>,
    ) -> Result<Self, Failure> {
        let reader = Reader { node, document, only };
        let mut plan = Self::default();
        if only.is_none() {
            plan.users = reader.each("users", |_, object| reader.user(object))?;
            plan.homes = reader.each("vhosts", |_, object| home(object))?;
            reader.read_rights(&mut plan)?;
            plan.globals = reader.each("global_parameters", |_, object| global(object))?;
        }
        plan.policies = reader.each("policies", |_, object| {
            let policy = policies::read(PolicyKind::User, name(object, "name")?, object)?;
            Ok((reader.home(object, &plan)?, policy))
        })?;
        plan.parameters = reader.each("parameters", |_, object| reader.parameter(object, &plan))?;
        plan.exchanges = reader.each("exchanges", |entry, object| {
            reader.place(entry, object, &plan, exchange(object)?)
        })?;
        plan.queues = reader
            .each("queues", |entry, object| reader.place(entry, object, &plan, queue(object)?))?;
        plan.bindings = reader.each("bindings", |entry, object| {
            reader.place(entry, object, &plan, binding(object)?)
        })?;
        Ok(plan)
    }
}

impl Reader<'_> {
    fn read_rights(&self, plan: &mut Plan) -> Result<(), Failure> {
        plan.permissions = self.each("permissions", |_, object| {
            let (user, virtual_host) = (self.named_user(object, plan)?, self.home(object, plan)?);
            Ok(PermissionView { user, virtual_host, permission: permissions::read(object)? })
        })?;
        plan.topics = self.each("topic_permissions", |_, object| {
            let (user, home) = (self.named_user(object, plan)?, self.home(object, plan)?);
            topic_permissions::read(object, user, home)
        })?;
        Ok(())
    }

    /// Reads each entry of a section. A refusal names the entry.
    fn each<T>(
        &self,
        section: &str,
        read: impl Fn(String, &Object) -> Result<T, Failure>,
    ) -> Result<Vec<T>, Failure> {
        let items = match self.document.get(section) {
            None | Some(Value::Null) => return Ok(Vec::new()),
            Some(Value::Array(items)) => items,
            Some(_) => return Err(Failure::bad_request(format!("`{section}` is not a list"))),
        };
        let one = |(index, item): (usize, &Value)| {
            let names = ["name", "user", "source"];
            let name = names.iter().find_map(|key| item[*key].as_str());
            let entry = match name {
                Some(name) => format!("{section}[{index}] '{name}'"),
                None => format!("{section}[{index}]"),
            };
            let object = item.as_object().ok_or_else(|| Failure::bad_request("not an object"));
            let read = object.and_then(|object| read(entry.clone(), object));
            read.map_err(|failure| in_entry(&entry, &failure))
        };
        items.iter().enumerate().map(one).collect()
    }

    fn user(&self, object: &Object) -> Result<(ShortString, User), Failure> {
        let name = name(object, "name")?;
        let known = self.node.broker().user(&name);
        let user = users::read(object, known.as_ref(), self.node.entropy())?;
        Ok((name, user))
    }

    fn parameter(
        &self,
        object: &Object,
        plan: &Plan,
    ) -> Result<(VirtualHostName, Parameter), Failure> {
        let home = self.home(object, plan)?;
        let value = object.get("value").unwrap_or(&Value::Null);
        let component = text(object, "component")?;
        Ok((home, parameters::read(component, text(object, "name")?, value)?))
    }

    fn place<T>(
        &self,
        entry: String,
        object: &Object,
        plan: &Plan,
        what: T,
    ) -> Result<Placed<T>, Failure> {
        Ok(Placed { entry, home: self.home(object, plan)?, what })
    }

    /// The virtual host of an entry, which must be there or in the document.
    fn home(&self, object: &Object, plan: &Plan) -> Result<VirtualHostName, Failure> {
        if let Some(only) = self.only {
            return Ok(only.clone());
        }
        let home = VirtualHostName::from(name(object, "vhost")?);
        let is_known = plan.homes.iter().any(|(known, _)| *known == home)
            || self.node.broker().virtual_host_options(&home).is_some();
        match is_known {
            true => Ok(home),
            false => Err(Failure::bad_request(format!("there is no virtual host '{home}'"))),
        }
    }

    fn named_user(&self, object: &Object, plan: &Plan) -> Result<ShortString, Failure> {
        let user = name(object, "user")?;
        let is_known = plan.users.iter().any(|(known, _)| *known == user)
            || self.node.broker().user(&user).is_some();
        match is_known {
            true => Ok(user),
            false => Err(Failure::bad_request(format!("there is no user '{user}'"))),
        }
    }
}

/// The refusal of an entry: `users[1] 'anna': tags_not_present`.
pub(super) fn in_entry(entry: &str, failure: &Failure) -> Failure {
    let reason = match &failure.body["reason"] {
        Value::String(reason) => reason.trim().replace('\n', " "),
        other => other.to_string(),
    };
    Failure::bad_request(format!("{entry}: {reason}"))
}

fn home(object: &Object) -> Result<(VirtualHostName, Object), Failure> {
    virtual_hosts::read(object, None)?;
    Ok((name(object, "name")?.into(), object.clone()))
}

fn global(object: &Object) -> Result<(ShortString, FieldValue), Failure> {
    let value = object.get("value").unwrap_or(&Value::Null);
    Ok((name(object, "name")?, fields::from_json(value)?))
}

fn exchange(object: &Object) -> Result<ExchangeDeclaration, Failure> {
    Ok(ExchangeDeclaration {
        name: name(object, "name")?.into(),
        kind: name(object, "type")?,
        durable: flag(object, "durable")?,
        auto_delete: flag(object, "auto_delete")?,
        internal: flag(object, "internal")?,
        arguments: fields::arguments(object.get("arguments"))?,
    })
}

/// A name that the server once chose may come back.
fn queue(object: &Object) -> Result<QueueDeclaration, Failure> {
    let name = QueueName::from(name(object, "name")?);
    Ok(QueueDeclaration {
        generated: name.starts_with(b"amq."),
        name,
        durable: flag(object, "durable")?,
        auto_delete: flag(object, "auto_delete")?,
        exclusive: None,
        arguments: fields::arguments(object.get("arguments"))?,
    })
}

fn binding(object: &Object) -> Result<Binding, Failure> {
    let source = ExchangeName::from(name(object, "source")?);
    let end = name(object, "destination")?;
    let destination = match text(object, "destination_type")? {
        "queue" => Destination::Queue(end.into()),
        "exchange" => Destination::Exchange(end.into()),
        other => {
            let reason = format!("destination_type is '{other}', not queue or exchange");
            return Err(Failure::bad_request(reason));
        }
    };
    let key = match object.get("routing_key") {
        None => RoutingKey::default(),
        Some(_) => name(object, "routing_key")?.into(),
    };
    let arguments = fields::arguments(object.get("arguments"))?;
    Ok(Binding::new(&source, &destination, &key, &arguments))
}

fn flag(object: &Object, key: &str) -> Result<bool, Failure> {
    fields::boolean(object, key).map(Option::unwrap_or_default)
}

/// A text of up to 255 octets.
fn name(object: &Object, key: &str) -> Result<ShortString, Failure> {
    let too_long = |_| Failure::bad_request(format!("{key} has more than 255 octets"));
    ShortString::try_from(text(object, key)?).map_err(too_long)
}
