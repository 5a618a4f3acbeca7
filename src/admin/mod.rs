//! The control plane: what operators and their tools ask of a running node over HTTP, in the paths,
//! bodies and codes of RabbitMQ's management API.
//!
//! A request is matched against the table of [`routes`], its sender is asked for a name and a role
//! ([`authentication`]), and a handler of one resource answers it with JSON. Handlers are plain
//! functions: they may take their time, they run where nobody else waits, and what they have
//! changed is durable before it is answered.

mod answer;
mod authentication;
mod call;
mod dispatch;
mod fields;
mod listing;
mod node;
mod operator;
mod path;
mod patient;
mod query;
mod routes;
mod service;

mod basics;
mod bindings;
mod connections;
mod consumers;
mod definitions;
mod erlang;
mod exchanges;
mod health;
mod limits;
mod messages;
mod nodes;
mod overview;
mod parameters;
mod permissions;
mod placement;
mod policies;
mod properties;
mod queues;
mod topic_permissions;
mod users;
mod virtual_hosts;

pub use self::{
    definitions::{BadDefinitions, load},
    dispatch::router,
    node::{
        CertificateFile, Connection, Durable, Fellow, Listening, Names, Node, NotForgotten,
        PeerName, Readings, Security, Vitals,
    },
    service::{Door, Peer, Service},
};
