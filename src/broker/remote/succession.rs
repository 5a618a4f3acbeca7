//! How the leadership of a queue begins, passes on and ends, as one node sees it.

use std::{collections::BTreeSet, mem, sync::Arc, time::Duration};

use super::{
    group_log::GroupLog,
    lead::{Consequences, Lead},
    parcel::{Claims, Content},
    sight::{Company, Leadership, Remote, Rest, State},
};
use crate::{
    broker::{
        hosted::{Configuration, Following, Hosted},
        ports::Journal,
        queue::Command,
    },
    model::{ConsumerId, NodeNumber, PositionRange, QueueKind, Ranges},
};

/// How long a new leader waits for what the other nodes hold of its queue.
const GATHERING: Duration = Duration::from_millis(500);

impl Remote {
    /// This node leads the queue's group from now on: asks what the others hold of it.
    pub(in crate::broker) fn begin_to_lead(
        &self,
        term: u64,
        others: impl Iterator<Item = NodeNumber>,
        company: Company<'_>,
    ) -> Rest {
        let mut state = self.lock();
        self.step_down(&mut state);
        let missing: BTreeSet<_> = others.collect();
        for other in &missing {
            self.send(*other, term, Content::Leads, company);
        }
        let is_complete = missing.is_empty();
        let claims = vec![(company.me, self.claims())];
        state.leadership = Leadership::Gathering { term, missing, claims };
        if is_complete {
            return self.take_over(&mut state, company);
        }
        let deadline = company.around.now + GATHERING;
        company.around.timer.wake_at(deadline, self.record.id);
        Rest::default()
    }

    /// This node does not lead the queue's group, or no longer.
    pub(in crate::broker) fn cease_to_lead(&self) {
        let mut state = self.lock();
        if !matches!(state.leadership, Leadership::There { .. }) {
            self.step_down(&mut state);
        }
    }

    /// Another node is there; if this one leads, it says so.
    pub(in crate::broker) fn node_up(
        &self,
        node: NodeNumber,
        incarnation: u64,
        company: Company<'_>,
    ) -> Rest {
        let mut state = self.lock();
        if !self.record.placement.is_mirrored() {
            if self.record.placement.home != node {
                return Rest::default();
            }
            return self.follow(&mut state, node, incarnation, company);
        }
        self.say_who_leads(&mut state, node, company)
    }

    /// Tells another node that this one leads, if it does.
    pub(super) fn say_who_leads(
        &self,
        state: &mut State,
        node: NodeNumber,
        company: Company<'_>,
    ) -> Rest {
        match &mut state.leadership {
            Leadership::Here(lead) => {
                let term = lead.term;
                self.send(node, term, Content::Leads, company);
            }
            Leadership::Gathering { term, missing, .. } => {
                missing.insert(node);
                self.send(node, *term, Content::Leads, company);
            }
            Leadership::Nowhere | Leadership::There { .. } => {}
        }
        Rest::default()
    }

    /// Asks the others who leads. Whoever did before this node knew the queue has told it in vain.
    pub(super) fn ask_who_leads(&self, others: &[NodeNumber], company: Company<'_>) -> Rest {
        for other in others {
            self.send(*other, 0, Content::WhoLeads, company);
        }
        Rest::default()
    }

    /// Another node is gone, with its clients; if it led, nobody does.
    pub(in crate::broker) fn node_down(&self, node: NodeNumber, company: Company<'_>) -> Rest {
        let mut state = self.lock();
        let mut out = Consequences::default();
        let mut rest = Rest::default();
        match &mut state.leadership {
            Leadership::Here(lead) => lead.node_down(node, company.around, &mut out),
            Leadership::Gathering { missing, claims, .. } => {
                missing.remove(&node);
                claims.retain(|(of, _)| *of != node);
                if missing.is_empty() {
                    return self.take_over(&mut state, company);
                }
            }
            Leadership::There { node: leader, .. } if *leader == node => {
                state.leadership = Leadership::Nowhere;
                if !self.record.placement.is_mirrored() {
                    rest = self.lose_only_copy(&mut state);
                }
            }
            Leadership::Nowhere | Leadership::There { .. } => {}
        }
        rest.and(self.conclude(&mut state, out, company))
    }

    /// The queue is deleted.
    pub(in crate::broker) fn end(&self) -> Rest {
        let mut state = self.lock();
        self.step_down(&mut state);
        state.replica = None;
        self.attachments.cancel_all();
        let decided = state.sender.give_up().into_iter().map(|ticket| (ticket, false)).collect();
        Rest { decided, notify: true, ..Rest::default() }
    }

    /// Another node leads as of a term: says what is held here, and sends again what it may lack.
    pub(super) fn follow(
        &self,
        state: &mut State,
        leader: NodeNumber,
        term: u64,
        company: Company<'_>,
    ) -> Rest {
        let known = match &state.leadership {
            Leadership::Here(lead) => lead.term,
            Leadership::Gathering { term, .. } | Leadership::There { term, .. } => *term,
            Leadership::Nowhere => 0,
        };
        if known > term {
            return Rest::default();
        }
        self.step_down(state);
        state.leadership = Leadership::There { node: leader, term };
        self.send(leader, term, Content::Claims(self.claims()), company);
        let mut rest = self.ship(state, company);
        for (number, question) in state.questions.clone() {
            rest = rest.and(self.put_question(state, number, question, company));
        }
        rest
    }

    /// What this node's clients hold, for a new leader. A classic queue's mirror that is promoted
    /// delivers it all again, and tells consumers that want to know (RabbitMQ 3.x).
    pub(super) fn claims(&self) -> Claims {
        if self.record.options.kind == QueueKind::Classic {
            self.attachments.let_go();
        }
        self.attachments.claims()
    }

    pub(super) fn take_claims(
        &self,
        state: &mut State,
        (from, term): (NodeNumber, u64),
        claims: Claims,
        company: Company<'_>,
    ) -> Rest {
        match &mut state.leadership {
            Leadership::Gathering { term: own, missing, claims: gathered } if *own == term => {
                gathered.retain(|(of, _)| *of != from);
                gathered.push((from, claims));
                missing.remove(&from);
                if missing.is_empty() {
                    return self.take_over(state, company);
                }
                Rest::default()
            }
            // It comes late, or again: what it held has been given to others.
            Leadership::Here(lead) if lead.term == term => {
                let outbox = self.way_to(from, term, company);
                let mut out = Consequences::default();
                for (subscription, subscriber) in claims.consumers {
                    let way = (subscriber, Arc::clone(&outbox));
                    let attached = lead.hosted.subscribe(subscription, way, company.around);
                    out.aftermaths.extend(attached);
                }
                self.conclude(state, out, company)
            }
            _ => Rest::default(),
        }
    }

    /// Begins to lead with what the others hold.
    pub(super) fn take_over(&self, state: &mut State, company: Company<'_>) -> Rest {
        let (Leadership::Gathering { term, claims, missing }, Some(replica)) =
            (mem::take(&mut state.leadership), &state.replica)
        else {
            return Rest::default();
        };
        // Whatever they have sent to somebody who did not lead yet is sent again.
        let others = claims.iter().map(|(node, _)| *node).filter(|node| *node != company.me);
        for other in others.chain(missing) {
            self.send(other, term, Content::Leads, company);
        }
        let followings = claims.into_iter().map(|(node, claims)| {
            (
                node,
                Following {
                    consumers: claims.consumers,
                    held: claims.held.into_iter().map(|(of, ranges)| (of, set(ranges))).collect(),
                    outbox: self.way_to(node, term, company),
                },
            )
        });
        let followings: Vec<_> = followings.collect();
        let log = Arc::new(GroupLog::new(
            self.record.id,
            replica.contents,
            Arc::clone(company.store),
            Arc::clone(company.fellows),
        ));
        let now = company.around.now;
        let configuration = Configuration::of(&self.record, &self.home.topology());
        let record = Arc::clone(&self.record);
        let hosted = Hosted::new(record, Arc::clone(&self.home), configuration, now);
        let taken: Vec<_> =
            followings.iter().filter_map(|(node, it)| taken_by(*node, it)).collect();
        let followings = followings.into_iter().map(|(_, following)| following).collect();
        let journal: Arc<dyn Journal> = Arc::<GroupLog>::clone(&log);
        let hosted = Arc::new(hosted.led_by(journal, replica.restored(), followings, now));
        let mut lead = Lead::new(term, hosted, Some(log), replica.producers.clone());
        for (node, ranges) in &taken {
            lead.has_taken(*node, ranges);
        }
        let mut out = Consequences::default();
        lead.command(Command::Touch, company.around, &mut out);
        state.leadership = Leadership::Here(Box::new(lead));
        let mut rest = self.conclude(state, out, company).and(self.ship(state, company));
        for (number, question) in state.questions.clone() {
            rest = rest.and(self.put_question(state, number, question, company));
        }
        rest
    }

    /// Whatever this node led, it does no longer; what its clients published goes to the next.
    pub(super) fn step_down(&self, state: &mut State) {
        if let Leadership::Here(lead) = mem::take(&mut state.leadership) {
            lead.abdicate();
        }
        state.sender.start_over();
    }

    /// Nobody else has the queue: publishers hear no, consumers are cancelled.
    pub(super) fn lose_only_copy(&self, state: &mut State) -> Rest {
        self.attachments.cancel_all();
        let decided = state.sender.give_up().into_iter().map(|ticket| (ticket, true)).collect();
        Rest { decided, notify: true, ..Rest::default() }
    }
}

fn set(ranges: Vec<PositionRange>) -> Ranges {
    ranges.into_iter().collect()
}

/// What `basic.get` has taken for a node's clients.
fn taken_by(node: NodeNumber, following: &Following) -> Option<(NodeNumber, Ranges)> {
    let taken = following.held.iter().find(|(of, _)| *of == ConsumerId::default())?;
    Some((node, taken.1.clone()))
}
