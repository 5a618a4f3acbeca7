//! One queue that is mirrored, or whose one copy may be on another node, as this node sees it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;

use super::{
    attachments::{Attachments, as_ranges},
    group_log::GroupLog,
    lead::{Consequences, Lead, positions},
    parcel::{Answer, Claims, Content, Parcel, Question},
    replica::Replica,
    sender::{Sender, Ticket},
};
use crate::{
    broker::{
        hosted::{Configuration, Following, Hosted, Surroundings},
        ports::{Fellows, Journal, Outbox},
        queue::{Arrival, Command, Kept, Subscription},
        topology::{self, QueueRecord},
        views::Subscriber,
        virtual_host::VirtualHost,
    },
    model::{
        AcknowledgementTimeout, Batch, ConsumerId, Decided, Delivery, Meaningless, NodeNumber,
        Outcome, Position, PositionRange, QueueId, QueueKind, QueueOptions, Ranges, Resource,
    },
};

/// How long a new leader waits for what the other nodes hold of its queue.
const GATHERING: Duration = Duration::from_secs(2);

/// One node's view of one queue.
#[derive(Debug)]
pub(in crate::broker) struct Remote {
    pub(in crate::broker) record: Arc<QueueRecord>,
    pub(in crate::broker) home: Arc<VirtualHost>,
    /// How long deliveries to this node's clients may be out.
    pub(in crate::broker) timeout: AcknowledgementTimeout,
    attachments: Arc<Attachments>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    leadership: Leadership,
    sender: Sender,
    /// Present on the nodes that mirror the queue.
    replica: Option<Replica>,
    questions: BTreeMap<u64, Question>,
    answers: BTreeMap<u64, Answer>,
    next_question: u64,
}

/// Who leads the queue.
#[derive(Debug, Default)]
enum Leadership {
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

    /// This node mirrors the queue.
    pub(super) fn mirror(&self, replica: Replica) {
        self.lock().replica = Some(replica);
    }

    /// Where this node's store has the messages, if it mirrors them.
    pub(in crate::broker) fn contents(&self) -> Option<QueueId> {
        self.lock().replica.as_ref().map(|replica| replica.contents)
    }

    /// Names the queue in a refusal.
    pub(in crate::broker) fn resource(&self) -> Resource {
        topology::queue_resource(&self.home.name, &self.record.name)
    }

    /// The last command that the replica here has applied; `None` when there is none.
    pub(in crate::broker) fn applied(&self) -> Option<u64> {
        self.lock().replica.as_ref().map(|replica| replica.applied)
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

    /// Applies what the group has agreed on; what must be written is added to `batch`. The fact of
    /// the replica is returned.
    pub(in crate::broker) fn apply(
        &self,
        index: u64,
        command: &Bytes,
        batch: &mut Batch,
    ) -> Result<Option<Vec<u8>>, Meaningless> {
        let mut state = self.lock();
        let Some(replica) = &mut state.replica else { return Ok(None) };
        replica.apply(index, command, batch)?;
        Ok(Some(replica.fact()))
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

    /// Messages below a position can be read from this node's disk now.
    pub(in crate::broker) fn moved(&self, below: Position) {
        let mut state = self.lock();
        if let Some(replica) = &mut state.replica {
            replica.moved(below);
        }
        if let Leadership::Here(lead) = &state.leadership {
            lead.hosted.moved(Kept::Durable, below);
        }
    }

    /// Messages that the replica here has; `None` when there is none.
    pub(in crate::broker) fn mirrored_count(&self) -> Option<u64> {
        self.lock().replica.as_ref().map(Replica::count)
    }

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

    /// Takes in what another node says.
    pub(in crate::broker) fn receive(
        &self,
        from: NodeNumber,
        term: u64,
        content: Content,
        company: Company<'_>,
    ) -> Rest {
        let mut state = self.lock();
        match content {
            Content::Leads => self.follow(&mut state, from, term, company),
            Content::Claims(claims) => self.take_claims(&mut state, (from, term), claims, company),
            Content::Publish(_)
            | Content::Detach(_)
            | Content::Settle { .. }
            | Content::Replenish { .. }
            | Content::Ask { .. } => self.serve(&mut state, (from, term), content, company),
            Content::Decided { .. }
            | Content::Resend { .. }
            | Content::Deliver(_)
            | Content::Cancelled(_)
            | Content::Answer { .. } => self.hear(&mut state, (from, term), content, company),
        }
    }

    /// Does what a client's node asks of the leader.
    fn serve(
        &self,
        state: &mut State,
        (from, term): (NodeNumber, u64),
        content: Content,
        company: Company<'_>,
    ) -> Rest {
        let Leadership::Here(lead) = &mut state.leadership else { return Rest::default() };
        if lead.term != term {
            return Rest::default();
        }
        let mut out = Consequences::default();
        let around = company.around;
        match content {
            Content::Publish(shipment) => lead.accept(from, shipment, around, &mut out),
            Content::Detach(consumer) => lead.detach(consumer, around, &mut out),
            Content::Settle { positions: ranges, outcome } => {
                lead.settle(from, positions(ranges.into_iter()), outcome, around, &mut out);
            }
            Content::Replenish { consumer, octets } => {
                let octets = usize::try_from(octets).unwrap_or(usize::MAX);
                lead.command(Command::Replenish { consumer, octets }, around, &mut out);
            }
            Content::Ask { number, question } => {
                let outbox = || self.way_to(from, term, company);
                lead.answer(from, number, question, outbox, around, &mut out);
            }
            _ => {}
        }
        self.conclude(state, out, company)
    }

    /// Hears what the leader says.
    fn hear(
        &self,
        state: &mut State,
        (from, term): (NodeNumber, u64),
        content: Content,
        company: Company<'_>,
    ) -> Rest {
        let is_leader = matches!(
            state.leadership,
            Leadership::There { node, term: of } if node == from && of == term
        );
        if !is_leader {
            return Rest::default();
        }
        match content {
            Content::Deliver(mut deliveries) => {
                deliveries.iter_mut().for_each(|delivery| delivery.queue = self.record.id);
                let strays = self.attachments.deliver(deliveries);
                if !strays.is_empty() {
                    let positions = as_ranges(&strays);
                    let outcome = Outcome::Requeue;
                    self.send(from, term, Content::Settle { positions, outcome }, company);
                }
                Rest::default()
            }
            Content::Cancelled(consumer) => {
                self.attachments.cancel(consumer);
                Rest::default()
            }
            content => {
                let rest = self.hear_word(state, content, company);
                rest.and(self.ship(state, company))
            }
        }
    }

    /// Takes in what is said of this node's own publications and questions.
    fn hear_word(&self, state: &mut State, content: Content, company: Company<'_>) -> Rest {
        let mut rest = Rest::default();
        match content {
            Content::Decided { sender, below, refused } if sender == company.incarnation => {
                rest.decided = state.sender.decide(below, &refused);
            }
            Content::Resend { sender, from } if sender == company.incarnation => {
                state.sender.resend_from(from);
            }
            Content::Answer { number, answer } => {
                if state.questions.remove(&number).is_some() {
                    if let Answer::Got(Some(got)) = &answer {
                        self.attachments.hold(got.position);
                    }
                    state.answers.insert(number, answer);
                    rest.notify = true;
                }
            }
            _ => {}
        }
        rest
    }

    /// Another node leads as of a term: says what is held here, and sends again what it may lack.
    fn follow(
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
    fn claims(&self) -> Claims {
        if self.record.options.kind == QueueKind::Classic {
            self.attachments.let_go();
        }
        self.attachments.claims()
    }

    fn take_claims(
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
    fn take_over(&self, state: &mut State, company: Company<'_>) -> Rest {
        let (Leadership::Gathering { term, claims, .. }, Some(replica)) =
            (std::mem::take(&mut state.leadership), &state.replica)
        else {
            return Rest::default();
        };
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
    fn step_down(&self, state: &mut State) {
        if let Leadership::Here(lead) = std::mem::take(&mut state.leadership) {
            lead.abdicate();
        }
        state.sender.start_over();
    }

    /// Nobody else has the queue: publishers hear no, consumers are cancelled.
    fn lose_only_copy(&self, state: &mut State) -> Rest {
        self.attachments.cancel_all();
        let decided = state.sender.give_up().into_iter().map(|ticket| (ticket, true)).collect();
        Rest { decided, notify: true, ..Rest::default() }
    }

    /// Hands publications to the leader, wherever it is.
    fn ship(&self, state: &mut State, company: Company<'_>) -> Rest {
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

    fn put_question(
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
                lead.answer(company.me, number, question, outbox, company.around, &mut out);
            }
            Leadership::There { node, term } => {
                self.send(*node, *term, Content::Ask { number, question }, company);
            }
            Leadership::Nowhere | Leadership::Gathering { .. } => {}
        }
        self.conclude(state, out, company)
    }

    /// Says what is owed, here and elsewhere, and gathers what is left to do.
    fn conclude(&self, state: &mut State, mut out: Consequences, company: Company<'_>) -> Rest {
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

    fn send(&self, to: NodeNumber, term: u64, content: Content, company: Company<'_>) {
        company.fellows.send(to, Parcel { queue: self.record.id, term, content });
    }

    /// The way of deliveries to the clients of a node.
    fn way_to(&self, node: NodeNumber, term: u64, company: Company<'_>) -> Arc<dyn Outbox> {
        if node == company.me {
            return Arc::new(WayHere(Arc::clone(&self.attachments)));
        }
        let fellows = Arc::clone(company.fellows);
        Arc::new(WayThere { node, term, queue: self.record.id, fellows })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
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

fn set(ranges: Vec<PositionRange>) -> Ranges {
    ranges.into_iter().collect()
}

/// What `basic.get` has taken for a node's clients.
fn taken_by(node: NodeNumber, following: &Following) -> Option<(NodeNumber, Ranges)> {
    let taken = following.held.iter().find(|(of, _)| *of == ConsumerId::default())?;
    Some((node, taken.1.clone()))
}

/// To clients of this node, whose attachments remember what they hold.
#[derive(Debug)]
struct WayHere(Arc<Attachments>);

impl Outbox for WayHere {
    fn deliver(&self, deliveries: &mut Vec<Delivery>) {
        self.0.deliver_counted(deliveries);
    }

    fn consumer_cancelled(&self, consumer: ConsumerId) {
        self.0.cancel(consumer);
    }

    fn decided(&self, _decided: &mut Vec<Decided>) {}

    fn close(&self, _reason: String) {}
}

/// To clients of another node.
#[derive(Debug)]
struct WayThere {
    node: NodeNumber,
    term: u64,
    queue: QueueId,
    fellows: Arc<dyn Fellows>,
}

impl WayThere {
    fn send(&self, content: Content) {
        let Self { node, term, queue, fellows } = self;
        fellows.send(*node, Parcel { queue: *queue, term: *term, content });
    }
}

impl Outbox for WayThere {
    fn deliver(&self, deliveries: &mut Vec<Delivery>) {
        self.send(Content::Deliver(std::mem::take(deliveries)));
    }

    fn consumer_cancelled(&self, consumer: ConsumerId) {
        self.send(Content::Cancelled(consumer));
    }

    fn decided(&self, _decided: &mut Vec<Decided>) {}

    fn close(&self, _reason: String) {}
}
