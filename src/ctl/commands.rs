//! Every command, and why there are others that RabbitMQ has and Leveret does not.

use crate::config::Config;

use super::{
    checks, cluster,
    command::{Command, Needs, Scope, Section, Tool},
    connections, definitions, limits, listing, node,
    outcome::Outcome,
    parameters, permissions, policies, queues, replicas, settings, status, users, vhosts,
};

const FAMILIES: &[&[Command]] = &[
    HELP,
    users::COMMANDS,
    permissions::COMMANDS,
    vhosts::COMMANDS,
    limits::COMMANDS,
    policies::COMMANDS,
    parameters::COMMANDS,
    listing::COMMANDS,
    queues::COMMANDS,
    replicas::COMMANDS,
    connections::COMMANDS,
    definitions::COMMANDS,
    settings::COMMANDS,
    status::COMMANDS,
    checks::COMMANDS,
    cluster::COMMANDS,
    node::COMMANDS,
];

const HELP: &[Command] = &[
    Command::new(
        "help",
        Section::Help,
        ("[<command>]", "Shows what a command is for and takes"),
        (0, 1),
        |_| Vec::new(),
        // It is answered before a broker is looked for.
        |_, _| Ok(Outcome::Nothing),
    )
    .scoped(Scope::Both)
    .needing(Needs::Nothing)
    .with(&[super::options::Switch::new("list-commands", super::options::Takes::Nothing)]),
    Command::new(
        "version",
        Section::Help,
        ("", "Shows the version of RabbitMQ whose tools these are"),
        (0, 0),
        |_| Vec::new(),
        |call, _| {
            let version = Config::default().product_version;
            Ok(match call.wants_json() {
                true => Outcome::Object(serde_json::json!({
                    "node": call.node, "result": "ok", "value": { "version": version },
                })),
                false => Outcome::text(version),
            })
        },
    )
    .scoped(Scope::Both)
    .needing(Needs::Nothing),
];

/// The commands of a tool. `leveret ctl` and `rabbitmqctl` have those of the diagnostics, too:
/// nobody who asks for one of them means anything else.
pub(super) fn available(tool: Tool) -> impl Iterator<Item = &'static Command> {
    FAMILIES.iter().copied().flatten().filter(move |command| match (tool, command.scope) {
        (Tool::Control, _) | (Tool::Diagnostics, Scope::Both | Scope::Diagnostics) => true,
        (Tool::Diagnostics, Scope::Control) => false,
    })
}

/// Commands of RabbitMQ that are no commands here, and why.
const WITHOUT: &[(&str, &[&str])] = &[
    (
        "A Leveret node joins the cluster that its configuration lists when it starts.",
        &[
            "await_online_nodes",
            "change_cluster_node_type",
            "force_boot",
            "join_cluster",
            "rename_cluster_node",
            "update_cluster_nodes",
            "cancel_sync_queue",
            "sync_queue",
        ],
    ),
    (
        "There is no Erlang in Leveret, and nothing of it to evaluate or to look at.",
        &["eval", "eval_file", "exec", "force_gc", "hipe_compile", "schema_info", "environment"],
    ),
    (
        "Leveret's server and its process are one: stop and start the process instead.",
        &["start_app", "stop_app", "reset", "force_reset", "restart_vhost"],
    ),
    (
        "Leveret has no feature flags: everything that it can do is enabled.",
        &["enable_feature_flag", "list_feature_flags"],
    ),
    (
        "Leveret's configuration holds no encrypted values.",
        &["decode", "encode", "list_ciphers", "list_hashes"],
    ),
    (
        "Leveret does not have this yet.",
        &[
            "autocomplete",
            "list_node_auth_attempt_stats",
            "list_unresponsive_queues",
            "report",
            "resume_listeners",
            "rotate_logs",
            "set_log_level",
            "suspend_listeners",
            "trace_off",
            "trace_on",
        ],
    ),
];

/// Why Leveret has no such command, if RabbitMQ has one.
pub(super) fn reason_without(name: &str) -> Option<&'static str> {
    WITHOUT.iter().find(|(_, names)| names.contains(&name)).map(|(why, _)| *why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_is_given_twice() {
        let mut names: Vec<_> = available(Tool::Control).map(|command| command.name).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(names.iter().all(|name| reason_without(name).is_none()));
    }
}
