//! How a node without an identity comes by one: it asks the others whether there is a cluster, and
//! joins it, or makes it with them.
//!
//! A node whose data directory was lost has promised things under its old number that it no longer
//! knows of, so it must never act under that number again: it joins like any other newcomer.

use std::{collections::BTreeMap, fmt::Write, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{net::TcpListener, task::JoinSet, time::timeout};

use super::{
    REMINDER,
    enquiry::{Admission, Enquiry, Whereabouts},
    identity::{FOUNDER, Identity},
    reminder::Reminder,
};
use crate::{
    cluster::detector::{Patience, Why},
    model::NodeNumber,
    net::{
        Clock,
        peers::{
            self, Answering, Credentials, Handler, Introduction, Limits, Member, Peers, Pulse,
            Question, Received, ask,
        },
    },
    server::entropy,
};

/// Who looks for a cluster, and among whom.
pub(super) struct Seeker {
    pub(super) me: Member,
    /// All that the configuration lists, by name, this node among them.
    pub(super) listed: BTreeMap<String, String>,
    pub(super) credentials: Credentials,
    pub(super) clock: Clock,
}

/// How often the others are asked again.
const PAUSE: Duration = Duration::from_millis(500);

/// How long one of them may take to say where it is.
const ANSWER: Duration = Duration::from_secs(5);

/// What the others' answers come to.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// These are of a cluster.
    Join(Vec<String>),
    /// Nobody is, and this node is the one that begins.
    Found,
    /// For this reason.
    Wait(String),
}

/// What somebody has said, or why he has not.
type Said = Result<Whereabouts, String>;

impl Seeker {
    /// Returns who this node is from now on, and the nodes that it knows. Waits for the others as
    /// long as it takes, and answers them meanwhile.
    pub(super) async fn seek(
        &self,
        listener: TcpListener,
    ) -> (Identity, BTreeMap<NodeNumber, Member>) {
        let door = self.open_door(listener);
        let store = entropy::draw();
        let mut ticks = tokio::time::interval(PAUSE);
        let mut reminder = Reminder::every(REMINDER, self.clock);
        let found = loop {
            ticks.tick().await;
            let reason = match verdict(&self.me.name, &self.listed, &self.ask_all().await) {
                Verdict::Found => break self.found(store),
                Verdict::Join(hosts) => match self.join(&hosts, store).await {
                    Ok(joined) => break joined,
                    Err(reason) => reason,
                },
                Verdict::Wait(reason) => reason,
            };
            if reminder.is_due() {
                tracing::info!("this node is of no cluster yet: {reason}");
            }
        };
        door.stop().await;
        found
    }

    /// Answers those who ask whether this node is of a cluster.
    fn open_door(&self, listener: TcpListener) -> Peers {
        let me = Introduction {
            cluster: 0,
            node: NodeNumber(0),
            name: self.me.name.clone(),
            incarnation: 0,
            versions: peers::VERSIONS,
        };
        let settings = peers::Settings {
            me,
            listener,
            credentials: self.credentials.clone(),
            members: BTreeMap::new(),
            patience: Patience::of(ANSWER),
            limits: Limits::default(),
        };
        let listed = self.listed.keys().cloned().collect();
        Peers::start(settings, Arc::new(Doorkeeper { listed }))
    }

    async fn ask_all(&self) -> BTreeMap<String, Said> {
        let mut asked = JoinSet::new();
        for (name, address) in self.listed.iter().filter(|(name, _)| **name != self.me.name) {
            let (name, address) = (name.clone(), address.clone());
            let (me, credentials) = (self.me.name.clone(), self.credentials.clone());
            asked.spawn(async move {
                let enquiry = Enquiry::Whereabouts.octets();
                let answer = timeout(ANSWER, ask(&address, &me, &credentials, enquiry)).await;
                let said = match answer {
                    Ok(Ok(answer)) => Whereabouts::read(&answer)
                        .ok_or_else(|| format!("{address} says what makes no sense")),
                    Ok(Err(unanswered)) => Err(unanswered.to_string()),
                    Err(_) => Err(format!("{address} did not answer in time")),
                };
                (name, said)
            });
        }
        asked.join_all().await.into_iter().collect()
    }

    /// Makes a cluster that has this node alone; the others will ask it.
    fn found(&self, store: u128) -> (Identity, BTreeMap<NodeNumber, Member>) {
        let cluster = entropy::draw();
        tracing::info!("this node begins the cluster {cluster:032x}");
        let identity = Identity { cluster, node: FOUNDER, store, incarnation: 0 };
        (identity, BTreeMap::from([(FOUNDER, self.me.clone())]))
    }

    async fn join(
        &self,
        hosts: &[String],
        store: u128,
    ) -> Result<(Identity, BTreeMap<NodeNumber, Member>), String> {
        let mut reasons = Vec::new();
        for host in hosts {
            let address = self.me.address.clone();
            let enquiry = Enquiry::Join { address, store }.octets();
            match ask(&self.listed[host], &self.me.name, &self.credentials, enquiry).await {
                Ok(answer) => match Admission::read(&answer) {
                    Some(Admission { cluster, node, members }) => {
                        tracing::info!("this node joins the cluster {cluster:032x} as node {node}");
                        return Ok((Identity { cluster, node, store, incarnation: 0 }, members));
                    }
                    None => reasons.push(format!("{host} says what makes no sense")),
                },
                Err(unanswered) => reasons.push(unanswered.to_string()),
            }
        }
        Err(reasons.join("; "))
    }
}

/// The node whose name comes first begins, when all have said that there is nothing to join, and
/// all have the same list.
fn verdict(me: &str, listed: &BTreeMap<String, String>, said: &BTreeMap<String, Said>) -> Verdict {
    let is_member = |said: &Said| matches!(said, Ok(Whereabouts::Member { .. }));
    let hosts: Vec<_> = said.iter().filter(|(_, said)| is_member(said)).collect();
    if !hosts.is_empty() {
        return Verdict::Join(hosts.into_iter().map(|(name, _)| name.clone()).collect());
    }
    let mut reasons = String::new();
    for (name, said) in said {
        let reason = match said {
            Err(why) => why.clone(),
            Ok(Whereabouts::Nowhere { listed: theirs }) if !theirs.iter().eq(listed.keys()) => {
                format!("it lists other nodes ({})", theirs.join(", "))
            }
            Ok(_) => continue,
        };
        let separator = if reasons.is_empty() { "it waits for " } else { "; " };
        let _a_string_takes_everything = write!(reasons, "{separator}{name}: {reason}");
    }
    match listed.keys().next() {
        _ if !reasons.is_empty() => Verdict::Wait(reasons),
        Some(first) if first != me => Verdict::Wait(format!("{first} is to begin it")),
        _ => Verdict::Found,
    }
}

/// Answers while there is nothing to join here.
struct Doorkeeper {
    listed: Vec<String>,
}

impl Handler for Doorkeeper {
    fn received(&self, _frame: Received) {}

    fn up(&self, _node: NodeNumber, _incarnation: u64) {}

    fn down(&self, _node: NodeNumber, _why: Why) {}

    fn heartbeat(&self) -> Pulse {
        Pulse::default()
    }

    fn heard(&self, _from: NodeNumber, _payload: Bytes) {}

    fn asked(&self, question: Question) -> Answering {
        let answer = match Enquiry::read(&question.payload) {
            Some(Enquiry::Whereabouts) => {
                Ok(Whereabouts::Nowhere { listed: self.listed.clone() }.octets())
            }
            Some(Enquiry::Join { .. }) => Err("it is of no cluster yet".to_owned()),
            None => Err("it does not understand the question".to_owned()),
        };
        Box::pin(async { answer })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(names: &[&str]) -> BTreeMap<String, String> {
        names.iter().map(|name| ((*name).to_owned(), format!("{name}:25672"))).collect()
    }

    fn nowhere(names: &[&str]) -> Said {
        let listed = names.iter().map(|name| (*name).to_owned()).collect();
        Ok(Whereabouts::Nowhere { listed })
    }

    fn said(all: &[(&str, Said)]) -> BTreeMap<String, Said> {
        all.iter().map(|(name, said)| ((*name).to_owned(), said.clone())).collect()
    }

    #[test]
    fn the_first_name_begins_when_all_have_answered() {
        let all = ["a", "b", "c"];
        let list = listed(&all);
        let others = |one, other| said(&[(one, nowhere(&all)), (other, nowhere(&all))]);
        assert_eq!(verdict("a", &list, &others("b", "c")), Verdict::Found);
        let waits = verdict("b", &list, &others("a", "c"));
        assert_eq!(waits, Verdict::Wait("a is to begin it".to_owned()));
        assert_eq!(verdict("a", &listed(&["a"]), &said(&[])), Verdict::Found);
    }

    #[test]
    fn who_does_not_answer_is_waited_for() {
        let all = ["a", "b", "c"];
        let answers = said(&[("b", nowhere(&all)), ("c", Err("c:1 is silent".to_owned()))]);
        let expected = Verdict::Wait("it waits for c: c:1 is silent".to_owned());
        assert_eq!(verdict("a", &listed(&all), &answers), expected);
    }

    #[test]
    fn nodes_with_other_lists_do_not_begin() {
        let answers = said(&[("b", nowhere(&["b", "c"]))]);
        let expected = Verdict::Wait("it waits for b: it lists other nodes (b, c)".to_owned());
        assert_eq!(verdict("a", &listed(&["a", "b"]), &answers), expected);
    }

    #[test]
    fn one_member_is_enough_to_join() {
        let member = Ok(Whereabouts::Member { cluster: 7 });
        let answers = said(&[("b", Err("it is silent".to_owned())), ("c", member)]);
        let expected = Verdict::Join(vec!["c".to_owned()]);
        assert_eq!(verdict("a", &listed(&["a", "b", "c"]), &answers), expected);
    }
}
