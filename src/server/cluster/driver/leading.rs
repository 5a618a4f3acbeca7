//! Who leads the groups and who belongs to them: what the driver does beyond what the host decides.

use std::time::Duration;

use super::Driver;
use crate::{
    cluster::{GroupId, ReplicaId, host::Input},
    model::QueueId,
    server::cluster::reconcile::{self, Step},
};

/// How long a queue whose proposal was lost waits for another leader.
const FALTER: Duration = Duration::from_millis(200);

/// How often what is led here is handed over while none of it should be.
const HAND_OVER: Duration = Duration::from_millis(500);

impl Driver {
    /// A proposal for a group that is led here was lost, as while it is handed over. Those that
    /// come after it must not be agreed on, and what they are part of begins anew.
    pub(super) fn falter(&mut self, group: GroupId) {
        if self.faltering.insert(group, self.clock.now() + FALTER).is_none() {
            self.broker.ceases_to_lead(QueueId(group.0));
        }
    }

    /// Leads those groups again that faltered and nobody else leads, once all that is in their logs
    /// has been applied.
    pub(super) fn lead_again(&mut self) {
        let now = self.clock.now();
        let due: Vec<_> = self.faltering.iter().filter(|(_, at)| **at <= now).collect();
        let due: Vec<_> = due.into_iter().map(|(group, _)| *group).collect();
        for group in due {
            self.faltering.insert(group, now + FALTER);
            let Some((last, term)) = self.host.position(group).filter(|_| self.leads(group)) else {
                self.faltering.remove(&group);
                continue;
            };
            if self.last_applied.get(&group) == Some(&last) {
                self.faltering.remove(&group);
                self.broker.leads(QueueId(group.0), term.0, now);
            }
        }
    }

    fn leads(&self, group: GroupId) -> bool {
        self.host.leader(group).map(ReplicaId::node) == Some(self.switchboard.me)
    }

    /// Has others lead what is led here, while that is asked for.
    pub(super) fn hand_over(&mut self, inputs: &mut Vec<Input>) {
        let now = self.clock.now();
        if self.leaving.is_none_or(|at| now < at) {
            return;
        }
        self.leaving = Some(now + HAND_OVER);
        let mut led = self.broker.queues_led();
        let before = inputs.len();
        let groups: Vec<_> = self.host.replicas().map(|(group, _)| group).collect();
        for group in groups.into_iter().filter(|group| self.leads(*group)) {
            let Some(members) = self.host.members(group) else { continue };
            let is_up = |node| self.up.contains(&node);
            let found = reconcile::successor(members, self.switchboard.me, is_up, &led);
            if let Some(to) = found {
                *led.entry(to.node()).or_default() += 1;
                inputs.push(Input::Transfer { group, to });
            }
        }
        self.switchboard.set_leading(inputs.len() > before);
    }

    /// Moves groups that are led here on towards the members that they should have.
    pub(super) fn change_members(&mut self, inputs: &mut Vec<Input>) {
        for (group, wanted) in self.reconcile.take_due(self.clock.now()) {
            let is_led = self.leads(group);
            let (Some(members), Some((last, _))) =
                (self.host.members(group).filter(|_| is_led), self.host.position(group))
            else {
                continue;
            };
            let progress = self.host.progress(group);
            match reconcile::step(reconcile::Group { members, last, progress: &progress }, &wanted)
            {
                Step::Wait => {}
                Step::Reached => {
                    let generation = self.reconcile.reached(group).unwrap_or_default();
                    self.broker.has_moved(QueueId(group.0), generation);
                }
                Step::Change { voters, learners } => {
                    let ticket = self.ticket();
                    inputs.push(Input::ChangeMembers { group, voters, learners, ticket });
                }
            }
        }
    }
}
