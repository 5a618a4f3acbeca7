//! One queue that is mirrored, or whose one copy may be on another node, as this node sees it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

use super::{
    attachments::{Attachments, as_ranges},
    lead::{Consequences, Lead},
    parcel::{Answer, Claims, Content, Parcel, Question},
    replica::Replica,
    sender::{Sender, Ticket},
    ways::{WayHere, WayThere},
};
use crate::{
    broker::{
        hosted::{Hosted, Surroundings},
        ports::{Fellows, Journal, Outbox},
        queue::{Arrival, Command, Subscription},
        topology::{self, QueueRecord},
        views::Subscriber,
        virtual_host::VirtualHost,
    },
    model::{
        AcknowledgementTimeout, ConsumerId, NodeNumber, Outcome, Position, QueueOptions, Resource,
    },
};

/// One node's view of one queue.
#[derive(Debug)]
pub(in crate::broker) struct Remote {
    pub(in crate::broker) record: Arc<QueueRecord>,
    pub(in crate::broker) home: Arc<VirtualHost>,
    /// How long deliveries to this node's clients may be out.
    pub(in crate::broker) timeout: AcknowledgementTimeout,
    pub(super) attachments: Arc<Attachments>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) leadership: Leadership,
    pub(super) sender: Sender,
    /// Present on the nodes that mirror the queue.
    pub(super) replica: Option<Replica>,
    /// A copy of another node's replica that is on its way here.
    pub(super) incoming: Option<Replica>,
    pub(super) questions: BTreeMap<u64, Question>,
    pub(super) answers: BTreeMap<u64, Answer>,
    next_question: u64,
}

/// Who leads the queue.
#[derive(Debug, Default)]
pub(super) enum Leadership {
    /// Nobody, as far as this node knows.
    #[default]
    Nowhere,
    /// This node will, once the others have said what they hold.
    Gathering {
        term: u64,
        missing: BTreeSet<NodeNumber>,
        claims: Vec<(NodeNumber, Claims)>,
    },
    Here(Box<Lead>),
    There {
        node: NodeNumber,
        term: u64,
    },
}

/// What a call may reach beside the queue: who this node is, and who else there is.
#[derive(Clone, Copy)]
pub(in crate::broker) struct Company<'a> {
    pub(in crate::broker) me: NodeNumber,
    /// This node's incarnation.
    pub(in crate::broker) incarnation: u64,
    pub(in crate::broker) fellows: &'a Arc<dyn Fellows>,
    pub(in crate::broker) store: &'a Arc<dyn Journal>,
    pub(in crate::broker) around: Surroundings<'a>,
}

/// What is to be done when no lock of the queue is held any more.
#[derive(Debug, Default)]
#[must_use]
pub(in crate::broker) struct Rest {
    /// What became of publications of this node: who waited for it, and whether it was refused.
    pub(in crate::broker) decided: Vec<(Ticket, bool)>,
    pub(in crate::broker) deaths: bool,
    /// The queue's life is over.
    pub(in crate::broker) over: bool,
    /// Somebody who waits should look again.
    pub(in crate::broker) notify: bool,
}

impl Remote {
    pub(in crate::broker) fn new(
        record: Arc<QueueRecord>,
        home: Arc<VirtualHost>,
        options: &QueueOptions,
    ) -> Self {
        let timeout = AcknowledgementTimeout::new(options.consumer_timeout);
        let (attachments, state) = Default::default();
        Self { record, home, timeout, attachments, state }
    }

    /// The queue has other options now.
    pub(in crate::broker) fn configure(
        &self,
        options: &QueueOptions,
        version: u64,
        company: Company<'_>,
    ) -> Rest {
        self.timeout.set(options.consumer_timeout);
        let mut state = self.lock();
        let mut out = Consequences::default();
        if let Leadership::Here(lead) = &state.leadership {
            out.aftermaths.push(lead.hosted.configure(options, version, company.around));
        }
        self.conclude(&mut state, out, company)
    }

    /// The queue's only copy, which is here, for clients of other nodes.
    pub(in crate::broker) fn of_hosted(hosted: &Arc<Hosted>, incarnation: u64) -> Self {
        let (record, home) = (Arc::clone(&hosted.record), Arc::clone(&hosted.home));
        let remote = Self::new(record, home, &hosted.record.options);
        let lead = Lead::new(incarnation, Arc::clone(hosted), None, super::Producers::default());
        remote.lock().leadership = Leadership::Here(Box::new(lead));
        remote
    }

    /// Names the queue in a refusal.
    pub(in crate::broker) fn resource(&self) -> Resource {
        topology::queue_resource(&self.home.name, &self.record.name)
    }

    /// The queue itself, if it is led here.
    pub(in crate::broker) fn led(&self) -> Option<Arc<Hosted>> {
        match &self.lock().leadership {
            Leadership::Here(lead) => Some(Arc::clone(&lead.hosted)),
            _ => None,
        }
    }

    /// Whether messages may be routed to it: the node that has its one copy is there, or it is
    /// mirrored, and somebody will lead it.
    pub(in crate::broker) fn is_reachable(&self) -> bool {
        self.record.placement.is_mirrored()
            || !matches!(self.lock().leadership, Leadership::Nowhere)
    }

    /// The node that leads, as far as is known here.
    pub(in crate::broker) fn leader(&self, me: NodeNumber) -> Option<NodeNumber> {
        match &self.lock().leadership {
            Leadership::Here(_) => Some(me),
            Leadership::There { node, .. } => Some(*node),
            Leadership::Nowhere | Leadership::Gathering { .. } => None,
        }
    }

    /// What clients of this node have published and nobody has decided on.
    pub(in crate::broker) fn pending_octets(&self) -> usize {
        self.lock().sender.octets()
    }

    /// Publishes messages of clients of this node, in order.
    pub(in crate::broker) fn publish(
        &self,
        publications: impl Iterator<Item = (Arrival, Ticket)>,
        company: Company<'_>,
    ) -> Rest {
        let mut state = self.lock();
        publications.for_each(|(arrival, ticket)| state.sender.push(arrival, ticket));
        self.ship(&mut state, company)
    }

    /// Asks the leader something; the answer comes by [`Self::answer`] with the number.
    pub(in crate::broker) fn ask(&self, question: Question, company: Company<'_>) -> (u64, Rest) {
        let mut state = self.lock();
        state.next_question += 1;
        let number = state.next_question;
        state.questions.insert(number, question.clone());
        let rest = self.put_question(&mut state, number, question, company);
        (number, rest)
    }

    /// The answer to a question, once it has come.
    pub(in crate::broker) fn answer(&self, number: u64) -> Option<Answer> {
        self.lock().answers.remove(&number)
    }

    /// Nobody waits for the answer any more.
    pub(in crate::broker) fn withdraw(&self, number: u64) {
        let mut state = self.lock();
        state.questions.remove(&number);
        state.answers.remove(&number);
    }

    /// A consumer of this node is to get messages, whoever leads.
    pub(in crate::broker) fn attach(
        &self,
        subscription: &Subscription,
        subscriber: &Subscriber,
        outbox: Arc<dyn Outbox>,
    ) {
        self.attachments.add(subscription.clone(), subscriber.clone(), outbox);
    }

    /// A consumer of this node leaves.
    pub(in crate::broker) fn detach(&self, consumer: ConsumerId, company: Company<'_>) -> Rest {
        let unseen = self.attachments.remove(consumer).unwrap_or_default();
        let mut state = self.lock();
        let mut out = Consequences::default();
        match &mut state.leadership {
            Leadership::Here(lead) => lead.detach(consumer, company.around, &mut out),
            Leadership::There { node, term } => {
                self.send(*node, *term, Content::Detach(consumer), company);
            }
            Leadership::Nowhere | Leadership::Gathering { .. } => {}
        }
        let rest = self.conclude(&mut state, out, company);
        drop(state);
        if unseen.is_empty() {
            return rest;
        }
        rest.and(self.settle(unseen, Outcome::Requeue, company))
    }

    /// Clients of this node end or give back deliveries.
    pub(in crate::broker) fn settle(
        &self,
        positions: Vec<Position>,
        outcome: Outcome,
        company: Company<'_>,
    ) -> Rest {
        self.attachments.settle(&positions);
        let mut state = self.lock();
        let mut out = Consequences::default();
        match &mut state.leadership {
            Leadership::Here(lead) => {
                lead.settle(company.me, positions, outcome, company.around, &mut out);
            }
            Leadership::There { node, term } => {
                let positions = as_ranges(&positions);
                self.send(*node, *term, Content::Settle { positions, outcome }, company);
            }
            // Whoever leads next does not hear of it: a message that was acknowledged comes back.
            Leadership::Nowhere | Leadership::Gathering { .. } => {}
        }
        self.conclude(&mut state, out, company)
    }

    /// A consumer of this node has room again.
    pub(in crate::broker) fn replenish(
        &self,
        consumer: ConsumerId,
        octets: usize,
        company: Company<'_>,
    ) -> Rest {
        let mut state = self.lock();
        let mut out = Consequences::default();
        match &mut state.leadership {
            Leadership::Here(lead) => {
                let command = Command::Replenish { consumer, octets };
                lead.command(command, company.around, &mut out);
            }
            Leadership::There { node, term } => {
                let content = Content::Replenish { consumer, octets: octets as u64 };
                self.send(*node, *term, content, company);
            }
            Leadership::Nowhere | Leadership::Gathering { .. } => {}
        }
        self.conclude(&mut state, out, company)
    }

    /// The credit of a channel of this node has room again.
    pub(in crate::broker) fn resume(&self, company: Company<'_>) -> Rest {
        self.attachments.resume();
        self.command(Command::Resume, company)
    }

    /// Applies a command that has no answer, if the queue is led here.
    pub(in crate::broker) fn command(&self, command: Command, company: Company<'_>) -> Rest {
        let mut state = self.lock();
        let mut out = Consequences::default();
        if let Leadership::Here(lead) = &mut state.leadership {
            lead.command(command, company.around, &mut out);
        }
        self.conclude(&mut state, out, company)
    }

    /// The queue asked to be woken at this moment, or something became safe.
    pub(in crate::broker) fn wake(&self, company: Company<'_>) -> Rest {
        let mut state = self.lock();
        if let Leadership::Gathering { .. } = &state.leadership {
            return self.take_over(&mut state, company);
        }
        let mut out = Consequences::default();
        if let Leadership::Here(lead) = &mut state.leadership {
            lead.command(Command::Tick, company.around, &mut out);
        }
        self.conclude(&mut state, out, company)
    }

    /// What the group is to agree on next, and the number of its last record.
    pub(in crate::broker) fn proposal(&self) -> Option<(Bytes, u64)> {
        match &self.lock().leadership {
            Leadership::Here(lead) => lead.log.as_ref()?.take(),
            _ => None,
        }
    }

    /// The group has agreed on the leader's records up to this one, and they are applied here.
    pub(in crate::broker) fn reached(&self, up_to: u64, company: Company<'_>) -> Rest {
        let mut state = self.lock();
        let mut out = Consequences::default();
        if let Leadership::Here(lead) = &mut state.leadership
            && let Some(log) = &lead.log
            && log.reached(up_to)
        {
            lead.command(Command::Tick, company.around, &mut out);
        }
        self.conclude(&mut state, out, company)
    }

    /// Hands publications to the leader, wherever it is.
    pub(super) fn ship(&self, state: &mut State, company: Company<'_>) -> Rest {
        let mut out = Consequences::default();
        let State { leadership, sender, .. } = state;
        match leadership {
            Leadership::Here(lead) => {
                while let Some(shipment) = sender.next_shipment(company.incarnation) {
                    lead.accept(company.me, shipment, company.around, &mut out);
                }
            }
            Leadership::There { node, term } => {
                while let Some(shipment) = sender.next_shipment(company.incarnation) {
                    self.send(*node, *term, Content::Publish(shipment), company);
                }
            }
            Leadership::Nowhere | Leadership::Gathering { .. } => {}
        }
        self.conclude(state, out, company)
    }

    pub(super) fn put_question(
        &self,
        state: &mut State,
        number: u64,
        question: Question,
        company: Company<'_>,
    ) -> Rest {
        let mut out = Consequences::default();
        match &mut state.leadership {
            Leadership::Here(lead) => {
                let term = lead.term;
                let outbox = || self.way_to(company.me, term, company);
                lead.answer((company.me, number), question, outbox, company.around, &mut out);
            }
            Leadership::There { node, term } => {
                self.send(*node, *term, Content::Ask { number, question }, company);
            }
            Leadership::Nowhere | Leadership::Gathering { .. } => {}
        }
        self.conclude(state, out, company)
    }

    /// Says what is owed, here and elsewhere, and gathers what is left to do.
    pub(super) fn conclude(
        &self,
        state: &mut State,
        mut out: Consequences,
        company: Company<'_>,
    ) -> Rest {
        let mut rest = Rest::default();
        let mut term = 0;
        if let Leadership::Here(lead) = &mut state.leadership {
            lead.pay(&mut out);
            term = lead.term;
        }
        for (to, content) in out.words {
            if to == company.me {
                rest = rest.and(self.hear_word(state, content, company));
            } else {
                self.send(to, term, content, company);
            }
        }
        for aftermath in out.aftermaths {
            rest.deaths |= aftermath.deaths;
            rest.over |= aftermath.over;
        }
        rest
    }

    pub(super) fn send(&self, to: NodeNumber, term: u64, content: Content, company: Company<'_>) {
        company.fellows.send(to, Parcel { queue: self.record.id, term, content });
    }

    /// The way of deliveries to the clients of a node.
    pub(super) fn way_to(
        &self,
        node: NodeNumber,
        term: u64,
        company: Company<'_>,
    ) -> Arc<dyn Outbox> {
        if node == company.me {
            return Arc::new(WayHere(Arc::clone(&self.attachments)));
        }
        let fellows = Arc::clone(company.fellows);
        Arc::new(WayThere::new(node, (term, self.record.id), fellows))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rest {
    pub(in crate::broker) fn and(mut self, mut other: Self) -> Self {
        self.decided.append(&mut other.decided);
        self.deaths |= other.deaths;
        self.over |= other.over;
        self.notify |= other.notify;
        self
    }
}
