//! Commands about runtime parameters, of a virtual host and of the whole broker.

use serde_json::{Value, json};

use super::{
    broker::{Answer, Broker},
    command::{Call, Command, Section},
    outcome::{Cell, Failure, Outcome, Rows, UNAVAILABLE},
    place::path,
};

pub(super) const COMMANDS: &[Command] = &[
    Command::new(
        "clear_global_parameter",
        Section::Parameters,
        ("<name>", "Deletes a parameter of the whole broker"),
        (1, 1),
        |call| vec![format!("Clearing global runtime parameter \"{}\" ...", call.word(0))],
        |call, broker| cleared(broker.delete(&path(&["global-parameters", call.word(0)]))?),
    ),
    Command::new(
        "clear_parameter",
        Section::Parameters,
        ("[--vhost <vhost>] <component_name> <name>", "Deletes a parameter"),
        (2, 2),
        |call| {
            let (component, name, vhost) = (call.word(0), call.word(1), call.vhost());
            vec![format!(
                "Clearing runtime parameter \"{name}\" for component \"{component}\" on vhost \
                 \"{vhost}\" ..."
            )]
        },
        |call, broker| {
            let (component, name) = (call.word(0), call.word(1));
            cleared(broker.delete(&path(&["parameters", component, call.vhost(), name]))?)
        },
    ),
    Command::new(
        "list_global_parameters",
        Section::Parameters,
        ("[--no-table-headers]", "Lists the parameters of the whole broker"),
        (0, 0),
        |_| vec!["Listing global runtime parameters ...".to_owned()],
        list_global_parameters,
    )
    .listing(),
    Command::new(
        "list_parameters",
        Section::Parameters,
        ("[--vhost <vhost>] [--no-table-headers]", "Lists a virtual host's parameters"),
        (0, 0),
        |call| vec![format!("Listing runtime parameters for vhost \"{}\" ...", call.vhost())],
        list_parameters,
    )
    .listing(),
    Command::new(
        "set_global_parameter",
        Section::Parameters,
        ("<name> <value>", "Sets a parameter of the whole broker"),
        (2, 2),
        |call| {
            let (name, value) = (call.word(0), call.word(1));
            vec![format!("Setting global runtime parameter \"{name}\" to \"{value}\" ...")]
        },
        set_global_parameter,
    ),
    Command::new(
        "set_parameter",
        Section::Parameters,
        ("[--vhost <vhost>] <component_name> <name> <value>", "Sets a parameter"),
        (3, 3),
        |call| {
            let (component, name, value) = (call.word(0), call.word(1), call.word(2));
            vec![format!(
                "Setting runtime parameter \"{name}\" for component \"{component}\" to \
                 \"{value}\" in vhost \"{}\" ...",
                call.vhost()
            )]
        },
        set_parameter,
    ),
];

/// The outcome of deleting what may not have been there.
pub(super) fn cleared(answer: Answer) -> Result<Outcome, Failure> {
    if answer.is_missing() {
        return Err(Failure::new(UNAVAILABLE, "Parameter does not exist"));
    }
    answer.accepted()?;
    Ok(Outcome::Done)
}

fn set_parameter(call: &Call<'_>, broker: &mut Broker) -> Result<Outcome, Failure> {
    let (component, name, vhost) = (call.word(0), call.word(1), call.vhost());
    let value = super::json_argument(call.word(2))?;
    let body = json!({ "component": component, "vhost": vhost, "name": name, "value": value });
    let answer = broker.put(&path(&["parameters", component, vhost, name]), &body)?;
    if answer.is_missing() {
        return Err(Failure::no_such_vhost(vhost));
    }
    answer.accepted()?;
    Ok(Outcome::Done)
}

fn set_global_parameter(call: &Call<'_>, broker: &mut Broker) -> Result<Outcome, Failure> {
    let value = super::json_argument(call.word(1))?;
    let body = json!({ "name": call.word(0), "value": value });
    broker.put(&path(&["global-parameters", call.word(0)]), &body)?.accepted()?;
    Ok(Outcome::Done)
}

fn list_parameters(call: &Call<'_>, broker: &mut Broker) -> Result<Outcome, Failure> {
    if broker.get(&path(&["vhosts", call.vhost()]))?.is_missing() {
        return Err(Failure::no_such_vhost(call.vhost()));
    }
    let mut parameters = broker.get("/api/parameters")?.list()?;
    parameters.retain(|parameter| parameter["vhost"] == call.vhost());
    Ok(rows(&["component", "name", "value"], &parameters))
}

fn list_global_parameters(_: &Call<'_>, broker: &mut Broker) -> Result<Outcome, Failure> {
    let parameters = broker.get("/api/global-parameters")?.list()?;
    Ok(rows(&["name", "value"], &parameters))
}

/// Values are shown in JSON, whatever the format.
fn rows(columns: &[&str], parameters: &[Value]) -> Outcome {
    let row = |parameter: &Value| {
        let cell = |name: &&str| match *name {
            "value" => Cell::text(parameter["value"].to_string()),
            name => Cell::Plain(parameter[name].clone()),
        };
        columns.iter().map(cell).collect()
    };
    Outcome::Rows(Rows::new(columns, parameters.iter().map(row).collect()))
}
