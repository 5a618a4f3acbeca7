//! Who asks: a user who has logged in, or whoever may open the node's socket.

use crate::{
    broker::Authority,
    model::{ShortString, VirtualHostName},
};

/// The sender of a request, with the rights that he has as an operator.
#[derive(Clone, Debug)]
pub(super) enum Operator {
    User {
        name: ShortString,
        tags: Vec<ShortString>,
    },
    /// Came through the node's own socket: an administrator of everything.
    Local,
}

/// What a route asks of its caller, beyond being an operator at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Nobody has to say who he is.
    Public,
    Operator,
    Monitor,
    /// May set policies; where the path names a virtual host, in that one.
    Policymaker,
    Administrator,
    /// May enter the virtual host that the path names, or is an administrator.
    VirtualHost,
    /// May at least see the virtual host that the path names.
    Visible,
}

const ADMINISTRATOR: &str = "administrator";
const MONITOR: &str = "monitoring";
const POLICYMAKER: &str = "policymaker";
const OPERATOR: &str = "management";

impl Operator {
    /// The name under which what he does is known.
    pub(super) fn name(&self) -> ShortString {
        match self {
            Self::User { name, .. } => name.clone(),
            Self::Local => ShortString::from_static("rmq-cli"),
        }
    }

    pub(super) fn is_administrator(&self) -> bool {
        self.has_any(&[ADMINISTRATOR])
    }

    pub(super) fn is_monitor(&self) -> bool {
        self.has_any(&[ADMINISTRATOR, MONITOR])
    }

    /// Whether it is an operator at all: users without one of the four tags only speak AMQP.
    pub(super) fn is_operator(&self) -> bool {
        self.has_any(&[ADMINISTRATOR, MONITOR, POLICYMAKER, OPERATOR])
    }

    /// Whether he has a permission in the virtual host.
    pub(super) fn may_enter(&self, authority: &dyn Authority, home: &VirtualHostName) -> bool {
        match self {
            Self::User { name, .. } => authority.may_enter(name, home),
            Self::Local => true,
        }
    }

    /// Whether lists show him what is said of a virtual host.
    pub(super) fn may_see(&self, authority: &dyn Authority, home: &VirtualHostName) -> bool {
        self.is_monitor() || self.may_enter(authority, home)
    }

    /// Why he may not do what asks for a role, in RabbitMQ's words. `home` is the virtual host that
    /// the path names; one that is not there stops nobody, he is told so later.
    pub(super) fn refusal(
        &self,
        role: Role,
        authority: &dyn Authority,
        home: Option<&VirtualHostName>,
    ) -> Option<&'static str> {
        let enters = || home.is_none_or(|home| self.may_enter(authority, home));
        let (may, words) = match role {
            Role::Public => return None,
            _ if !self.is_operator() => (false, "Not management user"),
            Role::Operator => return None,
            Role::Monitor => (self.is_monitor(), "Not monitor user"),
            Role::Administrator => (self.is_administrator(), "Not administrator user"),
            Role::Policymaker => {
                let is_policymaker = self.has_any(&[POLICYMAKER]) && enters();
                (is_policymaker || self.is_administrator(), "User not authorised to access object")
            }
            Role::VirtualHost => (self.is_administrator() || enters(), NO_ENTRY),
            Role::Visible => (self.is_monitor() || enters(), NO_ENTRY),
        };
        (!may).then_some(words)
    }

    fn has_any(&self, wanted: &[&str]) -> bool {
        match self {
            Self::User { tags, .. } => {
                tags.iter().any(|tag| wanted.iter().any(|word| **tag == *word.as_bytes()))
            }
            Self::Local => true,
        }
    }
}

const NO_ENTRY: &str = "User not authorised to access virtual host";
