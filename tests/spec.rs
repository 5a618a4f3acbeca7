//! The tables in `src/`, held to `spec/`; and `spec/`, held to the published specification.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::{collections::BTreeMap, env, fs};

use leveret::{
    model::Properties,
    wire::{
        content,
        frame::{self, FrameKind},
        method::Method,
    },
};
use serde::Deserialize;

/// Where Debian's package `amqp-specs` puts the published specification.
const PUBLISHED: &str = "/usr/share/amqp/specs/0-9-1/amqp0-9-1.stripped.xml";

/// The specification, ours or as published.
#[derive(Debug, PartialEq, Deserialize)]
struct Specification {
    protocol: Protocol,
    constants: Vec<Constant>,
    domains: Vec<Domain>,
    #[serde(rename = "class")]
    classes: Vec<Class>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Protocol {
    major: u8,
    minor: u8,
    revision: u8,
    port: u16,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Constant {
    name: String,
    value: u16,
    level: Option<String>,
    #[serde(default)]
    extension: bool,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Domain {
    name: String,
    r#type: String,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Class {
    name: String,
    id: u16,
    #[serde(default)]
    extension: bool,
    #[serde(default)]
    properties: Vec<Property>,
    #[serde(rename = "method")]
    methods: Vec<ClassMethod>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Property {
    name: String,
    domain: String,
    flag: u8,
    #[serde(default)]
    extension: bool,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClassMethod {
    name: String,
    id: u16,
    #[serde(default)]
    extension: bool,
    #[serde(default)]
    synchronous: bool,
    #[serde(default)]
    content: bool,
    receivers: Vec<String>,
    #[serde(default)]
    extended_receivers: Vec<String>,
    #[serde(default)]
    responses: Vec<String>,
    #[serde(default)]
    arguments: Vec<Argument>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Argument {
    name: String,
    domain: String,
    #[serde(default)]
    reserved: bool,
    #[serde(default)]
    extension: bool,
}

impl Specification {
    fn ours() -> Self {
        toml::from_str(include_str!("../spec/amqp0-9-1.toml"))
            .unwrap_or_else(|error| panic!("{}", error.message()))
    }

    fn wire_type(&self, domain: &str) -> &str {
        let found = self.domains.iter().find(|candidate| candidate.name == domain);
        &found.unwrap_or_else(|| panic!("no domain {domain}")).r#type
    }

    /// Name, wire type and use of an argument.
    fn argument(&self, argument: &Argument) -> String {
        let reserved = if argument.reserved { " reserved" } else { "" };
        format!("{}: {}{reserved}", argument.name, self.wire_type(&argument.domain))
    }

    fn constant(&self, name: &str) -> u16 {
        self.constants.iter().find(|constant| constant.name == name).unwrap().value
    }

    /// Undoes the extensions: what is left is what was published.
    fn without_extensions(mut self) -> Self {
        self.constants.retain(|constant| !constant.extension);
        self.classes.retain(|class| !class.extension);
        for class in &mut self.classes {
            class.methods.retain(|method| !method.extension);
            for property in class.properties.iter_mut().filter(|property| property.extension) {
                property.name = "reserved".to_owned();
                property.extension = false;
            }
            for method in &mut class.methods {
                method.extended_receivers.clear();
                reserve_extensions(&mut method.arguments);
            }
        }
        self
    }

    fn published(xml: &str) -> Self {
        let document = roxmltree::Document::parse(xml).unwrap();
        let root = document.root_element();
        let protocol = Protocol {
            major: number(root, "major"),
            minor: number(root, "minor"),
            revision: number(root, "revision"),
            port: number(root, "port"),
        };
        let constants = children(root, "constant").map(|constant| Constant {
            name: text(constant, "name"),
            value: number(constant, "value"),
            level: constant.attribute("class").map(|class| class.replace("-error", "")),
            extension: false,
        });
        let domains = children(root, "domain")
            .map(|domain| Domain { name: text(domain, "name"), r#type: text(domain, "type") });
        Self {
            protocol,
            constants: constants.collect(),
            domains: domains.collect(),
            classes: children(root, "class").map(published_class).collect(),
        }
    }
}

/// Names an argument that RabbitMQ put in a reserved place as the specification names that place.
fn reserve_extensions(arguments: &mut [Argument]) {
    let mut reserved = 0;
    for argument in arguments {
        if argument.extension {
            argument.name = format!("reserved-{}", reserved + 1);
            argument.extension = false;
            argument.reserved = true;
        }
        reserved += u8::from(argument.reserved);
    }
}

fn published_class(class: roxmltree::Node<'_, '_>) -> Class {
    let properties = children(class, "field").zip((0..16).rev()).map(|(field, flag)| Property {
        name: text(field, "name"),
        domain: text(field, "domain"),
        flag,
        extension: false,
    });
    let mut methods: Vec<ClassMethod> = children(class, "method").map(published_method).collect();
    methods.sort_by_key(|method| method.id);
    Class {
        name: text(class, "name"),
        id: number(class, "index"),
        extension: false,
        properties: properties.collect(),
        methods,
    }
}

fn published_method(method: roxmltree::Node<'_, '_>) -> ClassMethod {
    let arguments = children(method, "field").map(|field| Argument {
        name: text(field, "name"),
        domain: field.attribute("domain").or_else(|| field.attribute("type")).unwrap().to_owned(),
        reserved: field.attribute("reserved") == Some("1"),
        extension: false,
    });
    let names = |tag| children(method, tag).map(|node| text(node, "name")).collect();
    ClassMethod {
        name: text(method, "name"),
        id: number(method, "index"),
        extension: false,
        synchronous: method.attribute("synchronous") == Some("1"),
        content: method.attribute("content") == Some("1"),
        receivers: names("chassis"),
        extended_receivers: Vec::new(),
        responses: names("response"),
        arguments: arguments.collect(),
    }
}

fn children<'a, 'input>(
    node: roxmltree::Node<'a, 'input>,
    tag: &'static str,
) -> impl Iterator<Item = roxmltree::Node<'a, 'input>> {
    node.children().filter(move |child| child.has_tag_name(tag))
}

fn text(node: roxmltree::Node<'_, '_>, attribute: &str) -> String {
    node.attribute(attribute).unwrap().to_owned()
}

fn number<T: std::str::FromStr<Err: std::fmt::Debug>>(
    node: roxmltree::Node<'_, '_>,
    attribute: &str,
) -> T {
    node.attribute(attribute).unwrap().parse().unwrap()
}

/// What a table of methods says: by id, the name, whether content follows, and the arguments.
type Methods = BTreeMap<(u16, u16), (String, bool, Vec<String>)>;

#[test]
fn the_table_of_methods_is_the_specification() {
    let specification = Specification::ours();
    let mut expected = Methods::new();
    for class in &specification.classes {
        for method in &class.methods {
            let arguments =
                method.arguments.iter().map(|argument| specification.argument(argument));
            let name = format!("{}.{}", class.name, method.name);
            let row = (name, method.content, arguments.collect());
            expected.insert((class.id, method.id), row);
        }
    }
    let mut found = Methods::new();
    for row in Method::TABLE {
        let arguments = row.arguments.iter().map(|(name, rust)| argument_in_rust(name, rust));
        let row_of_ours = (row.name.to_owned(), row.has_content, arguments.collect());
        assert_eq!(found.insert(row.id, row_of_ours), None, "{} stands twice", row.name);
    }
    assert_eq!(found, expected);
}

/// An argument as Rust declares it, in the specification's words.
fn argument_in_rust(name: &str, rust: &str) -> String {
    let name = if name == "kind" { "type" } else { name }.replace('_', "-");
    let rust: String = rust.split_whitespace().collect();
    match rust.strip_prefix("Reserved<").and_then(|inner| inner.strip_suffix('>')) {
        Some(inner) => format!("{name}: {} reserved", wire_type_of(inner)),
        None => format!("{name}: {}", wire_type_of(&rust)),
    }
}

fn wire_type_of(rust: &str) -> &'static str {
    match rust {
        "bool" => "bit",
        "u8" => "octet",
        "u16" => "short",
        "u32" => "long",
        "u64" => "longlong",
        "ShortString" | "ExchangeName" | "QueueName" | "RoutingKey" | "ConsumerTag"
        | "VirtualHostName" => "shortstr",
        "LongString" => "longstr",
        "FieldTable" => "table",
        other => panic!("{other} is no type of an argument"),
    }
}

#[test]
fn names_of_queues_exchanges_and_tags_have_the_specification_s_domains() {
    let specification = Specification::ours();
    let domains: BTreeMap<(u16, u16), Vec<&str>> = specification
        .classes
        .iter()
        .flat_map(|class| class.methods.iter().map(move |method| (class.id, method)))
        .map(|(class, method)| {
            let domains = method.arguments.iter().map(|argument| argument.domain.as_str());
            ((class, method.id), domains.collect())
        })
        .collect();
    for row in Method::TABLE {
        for ((name, rust), domain) in row.arguments.iter().zip(&domains[&row.id]) {
            let expected = match *domain {
                "exchange-name" => "ExchangeName",
                "queue-name" => "QueueName",
                "consumer-tag" => "ConsumerTag",
                "path" => "VirtualHostName",
                _ if *name == "routing_key" => "RoutingKey",
                _ => continue,
            };
            assert_eq!(*rust, expected, "{} {name}", row.name);
        }
    }
}

#[test]
fn the_table_of_properties_is_the_specification() {
    let specification = Specification::ours();
    let basic = specification.classes.iter().find(|class| class.id == content::BASIC).unwrap();
    let expected: Vec<(String, &str, u8)> = basic
        .properties
        .iter()
        .map(|property| {
            let wire_type = match specification.wire_type(&property.domain) {
                "timestamp" => "longlong",
                other => other,
            };
            (property.name.clone(), wire_type, property.flag)
        })
        .collect();
    let found: Vec<(String, &str, u8)> = Properties::TABLE
        .iter()
        .map(|(name, rust, flag)| {
            let name = if *name == "kind" { "type" } else { name }.replace('_', "-");
            (name, wire_type_of(rust), *flag)
        })
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn frames_have_the_specification_s_numbers() {
    let specification = Specification::ours();
    assert_eq!(u16::from(frame::END), specification.constant("frame-end"));
    for (name, kind) in [
        ("frame-method", FrameKind::Method),
        ("frame-header", FrameKind::Header),
        ("frame-body", FrameKind::Body),
        ("frame-heartbeat", FrameKind::Heartbeat),
    ] {
        assert_eq!(u16::from(u8::from(kind)), specification.constant(name));
    }
}

#[test]
fn our_transcription_is_the_published_specification_and_marked_extensions() {
    let Ok(published) = fs::read_to_string(PUBLISHED) else {
        println!(
            "SKIPPED our_transcription_is_the_published_specification_and_marked_extensions: \
             {PUBLISHED} is not installed (Debian: amqp-specs)"
        );
        assert_ne!(env::var("CI").as_deref(), Ok("true"), "amqp-specs must be installed");
        return;
    };
    let ours = Specification::ours().without_extensions();
    let published = Specification::published(&published);
    assert_eq!(ours.protocol, published.protocol);
    assert_eq!(ours.constants, published.constants);
    assert_eq!(ours.domains, published.domains);
    assert_eq!(ours.classes.len(), published.classes.len());
    for (ours, published) in ours.classes.iter().zip(&published.classes) {
        assert_eq!((&ours.name, ours.id), (&published.name, published.id));
        assert_eq!(ours.properties, published.properties);
        assert_eq!(ours.methods.len(), published.methods.len(), "{}", ours.name);
        for (ours, published) in ours.methods.iter().zip(&published.methods) {
            assert_eq!(ours, published);
        }
    }
}

/// `spec/conformance.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Conformance {
    #[serde(rename = "rule")]
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    /// One sentence.
    rule: String,
    /// Where the rule is stated, or where it was observed.
    stated: String,
    status: Status,
    /// Why the rule is not held.
    why: Option<String>,
    /// `tests/scenarios/name.amqp`, or `path/of/file.rs::name_of_test`.
    test: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Held,
    Deviates,
    Absent,
}

impl Rule {
    /// What is wrong with the entry.
    fn fault(&self) -> Option<&'static str> {
        if self.rule.is_empty() || self.stated.is_empty() {
            return Some("says nothing, or not where it is stated");
        }
        if (self.status == Status::Held) == self.why.is_some() {
            return Some("needs a reason unless it is held, and only then");
        }
        match &self.test {
            None if self.status == Status::Held => Some("is held by no test"),
            Some(test) if !is_test(test) => Some("names a test that does not exist"),
            _ => None,
        }
    }
}

fn is_test(test: &str) -> bool {
    let Some((file, name)) = test.split_once("::") else {
        return test.ends_with(".amqp") && fs::exists(test).unwrap();
    };
    let code = fs::read_to_string(file).unwrap_or_default();
    code.contains(&format!("fn {name}("))
}

fn conformance() -> Vec<Rule> {
    let text = fs::read_to_string("spec/conformance.toml").unwrap();
    toml::from_str::<Conformance>(&text).unwrap().rules
}

#[test]
fn what_is_not_held_stands_in_the_page_on_compatibility_and_nothing_else_does() {
    let page = fs::read_to_string("docs/compatibility.md").unwrap();
    let (_, tables) = page.split_once("## What deviates").expect("the section on deviations");
    let (deviating, absent) = tables.split_once("## What is absent").expect("and that on absences");
    for (status, table) in [(Status::Deviates, deviating), (Status::Absent, absent)] {
        let first = |row: &str| row.trim_matches(['|', ' ']).split(" | ").next().map(str::to_owned);
        let mut found: Vec<_> =
            table.lines().filter(|line| line.starts_with('|')).skip(2).filter_map(first).collect();
        let rules = conformance().into_iter().filter(|rule| rule.status == status);
        let mut expected: Vec<_> = rules.map(|rule| rule.rule).collect();
        found.sort();
        expected.sort();
        assert_eq!(found, expected);
    }
}

#[test]
fn every_way_of_load_balancing_names_a_test_that_exists() {
    let page = fs::read_to_string("docs/load-balancing.md").unwrap();
    let rows: Vec<_> = page.lines().filter(|line| line.starts_with('|')).skip(2).collect();
    assert!(rows.len() >= 10, "{rows:?}");
    for row in rows {
        let test = row.trim_matches(['|', ' ']).rsplit(" | ").next().unwrap_or_default();
        assert!(is_test(test.trim_matches('`')), "{row}");
    }
}

#[test]
fn every_entry_on_conformance_is_complete_and_names_a_test_that_exists() {
    let rules = conformance();
    let mut faults = Vec::new();
    let mut seen = BTreeMap::new();
    for rule in &rules {
        if let Some(fault) = rule.fault() {
            faults.push(format!("`{}` {fault}", rule.rule));
        }
        if seen.insert(&rule.rule, ()).is_some() {
            faults.push(format!("`{}` stands twice", rule.rule));
        }
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}
