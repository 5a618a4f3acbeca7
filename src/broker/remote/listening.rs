//! What one node says to another about a queue, taken in.

use super::{
    attachments::as_ranges,
    lead::{Consequences, positions},
    parcel::{Answer, Content},
    sight::{Company, Leadership, Remote, Rest, State},
};
use crate::{
    broker::queue::Command,
    model::{NodeNumber, Outcome},
};

impl Remote {
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
            Content::WhoLeads => self.say_who_leads(&mut state, from, company),
            Content::Claims(claims) => self.take_claims(&mut state, (from, term), claims, company),
            Content::Publish(_)
            | Content::Detach(_)
            | Content::Settle { .. }
            | Content::Replenish { .. }
            | Content::HandOver(_)
            | Content::Ask { .. } => self.serve(&mut state, (from, term), content, company),
            Content::Decided { .. }
            | Content::Resend { .. }
            | Content::Deliver(_)
            | Content::Cancelled(_)
            | Content::Answer { .. } => self.hear(&mut state, (from, term), content, company),
        }
    }

    /// Does what a client's node asks of the leader.
    pub(super) fn serve(
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
            Content::HandOver(to) => company.fellows.transfer(self.record.id, to),
            Content::Ask { number, question } => {
                let outbox = || self.way_to(from, term, company);
                lead.answer((from, number), question, outbox, around, &mut out);
            }
            _ => {}
        }
        self.conclude(state, out, company)
    }

    /// Hears what the leader says.
    pub(super) fn hear(
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
    pub(super) fn hear_word(
        &self,
        state: &mut State,
        content: Content,
        company: Company<'_>,
    ) -> Rest {
        let mut rest = Rest::default();
        match content {
            Content::Decided { sender, below, refused } if sender == company.incarnation => {
                rest.decided = state.sender.decide(below, &refused);
            }
            Content::Resend { sender, from } if sender == company.incarnation => {
                state.sender.resend_from(from);
            }
            Content::Answer { number, answer } => {
                rest.notify = state.questions.remove(&number).is_some();
                if rest.notify {
                    self.note_answer(state, number, answer);
                }
            }
            _ => {}
        }
        rest
    }

    fn note_answer(&self, state: &mut State, number: u64, answer: Answer) {
        if let Answer::Got(Some(got)) = &answer {
            self.attachments.hold(got.position);
        }
        state.answers.insert(number, answer);
    }
}
