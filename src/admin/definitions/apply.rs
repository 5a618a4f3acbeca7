//! Carries out a plan that was checked. What is there already stays, or is overwritten.

use super::{
    document::{Placed, Plan, in_entry},
    scratch::is_passed_over,
};
use crate::{
    admin::{answer::Failure, node::Node, permissions::gone, policies, virtual_hosts},
    broker::{Client, PolicyKind},
    model::{LogPosition, Refusal},
};

/// Does what the plan says, and tells what must be durable for it to last.
pub(super) fn apply(node: &dyn Node, plan: Plan) -> Result<LogPosition, Failure> {
    let broker = node.broker();
    let mut written = LogPosition::default();
    let mut note = |position: LogPosition| written = written.max(position);
    for (name, user) in plan.users {
        note(broker.put_user(name, user));
    }
    for (name, said) in plan.homes {
        let known = broker.virtual_host_options(&name);
        note(broker.put_virtual_host(name, virtual_hosts::read(&said, known.as_deref())?));
    }
    for held in plan.permissions {
        note(broker.set_permission(held).map_err(|missing| gone(&missing))?);
    }
    for held in plan.topics {
        note(broker.set_topic_permission(held).map_err(|missing| gone(&missing))?);
    }
    for (name, value) in plan.globals {
        note(broker.set_global_parameter(name, value));
    }
    for (home, policy) in plan.policies {
        let set = broker.set_policy(&home, PolicyKind::User, policy, node.now());
        note(set.map_err(|missing| policies::gone(&missing))?);
    }
    for (home, parameter) in plan.parameters {
        note(parameter.put(node, &home)?);
    }
    for placed in &plan.exchanges {
        note(declare(node, placed, |client, what| client.declare_exchange(what))?);
    }
    for placed in &plan.queues {
        let now = node.now();
        note(declare(node, placed, |client, what| client.declare_queue(what, now).map(drop))?);
    }
    for placed in &plan.bindings {
        let now = node.now();
        note(declare(node, placed, |client, what| client.bind(what.clone(), now))?);
    }
    Ok(written)
}

fn declare<T>(
    node: &dyn Node,
    Placed { entry, home, what }: &Placed<T>,
    declare: impl FnOnce(&mut Client, &T) -> Result<(), Refusal>,
) -> Result<LogPosition, Failure> {
    let mut client = node.client();
    let declared = client.act_for_operator(home).and_then(|()| declare(&mut client, what));
    match declared {
        Ok(()) => Ok(client.take_awaited()),
        Err(refusal) if is_passed_over(&refusal) => Ok(LogPosition::default()),
        Err(refusal) => {
            let (_, words) = node.words(&refusal);
            Err(in_entry(entry, &Failure::bad_request(words)))
        }
    }
}
