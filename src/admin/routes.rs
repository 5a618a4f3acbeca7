//! The table of routes: which path is whose, with which methods, and what it asks of its caller.

use axum::http::Method;

use super::{
    answer::{Failure, Reply},
    basics, bindings,
    call::Call,
    connections, consumers, definitions, exchanges, health, limits, nodes,
    operator::Role,
    overview, parameters, permissions, placement, policies, queues, topic_permissions, users,
    virtual_hosts,
};

/// Every route there is; each resource adds its own.
const TABLE: &[&[Route]] = &[
    basics::ROUTES,
    bindings::ROUTES,
    connections::ROUTES,
    consumers::ROUTES,
    definitions::ROUTES,
    exchanges::ROUTES,
    health::ROUTES,
    limits::ROUTES,
    nodes::ROUTES,
    placement::ROUTES,
    overview::ROUTES,
    parameters::ROUTES,
    permissions::ROUTES,
    policies::ROUTES,
    queues::ROUTES,
    topic_permissions::ROUTES,
    users::ROUTES,
    virtual_hosts::ROUTES,
];

/// One path, as `users/:user/permissions`, and what may be done there.
pub(super) struct Route {
    pub(super) pattern: &'static str,
    pub(super) operations: &'static [Operation],
}

/// One method of a route.
pub(super) struct Operation {
    verb: Verb,
    pub(super) role: Role,
    pub(super) handler: Handler,
}

impl Operation {
    /// Whether it changes what is set for users, virtual hosts and the like.
    pub(super) fn is_setting(&self) -> bool {
        self.verb != Verb::Get && matches!(self.role, Role::Administrator | Role::Policymaker)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Get,
    Put,
    Post,
    Delete,
}

impl Verb {
    fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Put => "PUT",
            Self::Post => "POST",
            Self::Delete => "DELETE",
        }
    }
}

/// Answers one call. It may take its time.
pub(super) type Handler = fn(&Call) -> Result<Reply, Failure>;

pub(super) const fn get(role: Role, handler: Handler) -> Operation {
    Operation { verb: Verb::Get, role, handler }
}

pub(super) const fn put(role: Role, handler: Handler) -> Operation {
    Operation { verb: Verb::Put, role, handler }
}

pub(super) const fn post(role: Role, handler: Handler) -> Operation {
    Operation { verb: Verb::Post, role, handler }
}

pub(super) const fn delete(role: Role, handler: Handler) -> Operation {
    Operation { verb: Verb::Delete, role, handler }
}

/// What the parts of a path stand for, by the names that the pattern gives them.
pub(super) type Parts = Vec<(&'static str, Vec<u8>)>;

impl Route {
    pub(super) const fn new(pattern: &'static str, operations: &'static [Operation]) -> Self {
        Self { pattern, operations }
    }

    /// The first route that these segments fit: one of which no part is variable goes before.
    pub(super) fn find(segments: &[Vec<u8>]) -> Option<(&'static Self, Parts)> {
        let routes = || TABLE.iter().copied().flatten();
        let mut fitting = routes().filter_map(|route| Some((route, route.parts(segments)?)));
        let mut best = fitting.next()?;
        for other in fitting {
            if other.1.len() < best.1.len() {
                best = other;
            }
        }
        Some(best)
    }

    /// How the methods are listed: `HEAD, GET, OPTIONS`.
    pub(super) fn allowed(&self) -> String {
        let mut methods = Vec::new();
        for operation in self.operations {
            if operation.verb == Verb::Get {
                methods.push("HEAD");
            }
            methods.push(operation.verb.as_str());
        }
        methods.push("OPTIONS");
        methods.join(", ")
    }

    pub(super) fn operation(&self, method: &Method) -> Option<&'static Operation> {
        let method = if *method == Method::HEAD { "GET" } else { method.as_str() };
        self.operations.iter().find(|operation| operation.verb.as_str() == method)
    }

    fn parts(&self, segments: &[Vec<u8>]) -> Option<Parts> {
        let mut words = self.pattern.split('/');
        let mut parts = Vec::new();
        for segment in segments {
            let word = words.next()?;
            match word.strip_prefix(':') {
                Some(name) => parts.push((name, segment.clone())),
                None if *segment == *word.as_bytes() => {}
                None => return None,
            }
        }
        words.next().is_none().then_some(parts)
    }
}
