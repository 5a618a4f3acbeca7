//! Questions to the leaders of queues, of many at once, and where those leaders are.

use std::{collections::VecDeque, sync::Arc};

use super::{
    parcel::{Answer, Question},
    sight::Remote,
};
use crate::{
    broker::{
        Broker,
        hosted::Counts,
        topology::QueueRecord,
        views::{ConsumerView, QueueState, QueueView, Whereabouts},
    },
    model::{Moment, NodeNumber, Refusal},
};

impl Broker {
    /// Puts a question to the queue's leader; the answer comes under the number that is returned.
    pub(super) fn pose(&self, remote: &Remote, question: Question, now: Moment) -> u64 {
        let mut number = 0;
        self.act_on(remote, now, |company| {
            let (asked, rest) = remote.ask(question, company);
            number = asked;
            rest
        });
        number
    }

    /// Asks the queue's leader, and waits for the answer.
    ///
    /// # Errors
    /// What the leader says; [`Refusal::OutOfReach`] when it does not say anything in time.
    pub(in crate::broker) fn ask(
        &self,
        remote: &Arc<Remote>,
        question: Question,
        now: Moment,
    ) -> Result<Answer, Refusal> {
        let Some(fellowship) = &self.fellowship else {
            return Err(Refusal::NotFound(remote.resource()));
        };
        let number = self.pose(remote, question, now);
        let mut answer = None;
        fellowship.fellows().wait(&mut || {
            answer = remote.answer(number);
            answer.is_some()
        });
        remote.withdraw(number);
        match answer {
            Some(Answer::Denied(denial)) => Err(denial.refusal(remote.resource())),
            Some(answer) => Ok(answer),
            None => Err(self.out_of_reach(remote)),
        }
    }

    /// Nobody who leads the queue is there.
    pub(in crate::broker) fn out_of_reach(&self, remote: &Remote) -> Refusal {
        let home = remote.record.placement.home;
        let name = self.fellowship.as_ref().map(|fellowship| fellowship.fellows().name_of(home));
        Refusal::OutOfReach { resource: remote.resource(), node: name.unwrap_or_default() }
    }

    /// Asks the leaders of several queues, all before it waits for the first answer: that takes one
    /// round trip, however many they are. `None` for those who do not answer soon.
    pub(in crate::broker) fn ask_all(
        &self,
        remotes: &[Arc<Remote>],
        question: &Question,
        now: Moment,
    ) -> Vec<Option<Answer>> {
        let mut answers = vec![None; remotes.len()];
        let Some(fellowship) = &self.fellowship else { return answers };
        let mut asked = VecDeque::new();
        for (index, remote) in remotes.iter().enumerate() {
            asked.push_back((index, self.pose(remote, question.clone(), now)));
        }
        fellowship.fellows().wait_briefly(&mut || {
            while let Some((index, number)) = asked.front() {
                match remotes[*index].answer(*number) {
                    Some(answer) => answers[*index] = Some(answer),
                    None => return false,
                }
                asked.pop_front();
            }
            true
        });
        for (index, number) in asked {
            answers[index] = remotes[index].answer(number);
            remotes[index].withdraw(number);
        }
        answers
    }

    /// How much is in each of those queues whose leaders say so.
    pub(in crate::broker) fn all_counts(
        &self,
        remotes: &[Arc<Remote>],
        now: Moment,
    ) -> Vec<Counts> {
        let me = self.node();
        let is_led = |remote: &&Arc<Remote>| remote.leader(me).is_some();
        let led: Vec<_> = remotes.iter().filter(is_led).map(Arc::clone).collect();
        let answers = self.ask_all(&led, &Question::Counts { touch: false }, now).into_iter();
        let counts = answers.filter_map(|answer| match answer {
            Some(Answer::Counts { ready, unacknowledged, consumers }) => {
                Some(Counts { ready, unacknowledged, consumers })
            }
            _ => None,
        });
        counts.collect()
    }

    /// Where a queue is in the cluster. `None` when there is none.
    pub fn whereabouts(&self, record: &QueueRecord) -> Option<Whereabouts> {
        let fellowship = self.fellowship.as_ref()?;
        let (me, fellows) = (self.node(), fellowship.fellows());
        let mut members: Vec<_> = record.placement.nodes().collect();
        if members.is_empty() {
            members.push(record.placement.home);
        }
        let is_there = |node: &NodeNumber| *node == me || fellowship.is_present(*node);
        let online: Vec<_> = members.iter().copied().filter(is_there).collect();
        let leader = match record.placement.is_mirrored() {
            true => self.remote(record.id).and_then(|remote| remote.leader(me)),
            false => online.first().copied(),
        };
        let state = match leader {
            _ if online.len() * 2 <= members.len() && members.len() > 1 => QueueState::Minority,
            Some(_) => QueueState::Running,
            None => QueueState::Down,
        };
        let name = |node: &NodeNumber| fellows.name_of(*node);
        Some(Whereabouts {
            leader: leader.as_ref().map(name),
            members: members.iter().map(name).collect(),
            online: online.iter().map(name).collect(),
            state,
        })
    }

    /// The queues of these records that are still there, in their order.
    pub(in crate::broker) fn views_of(
        &self,
        records: Vec<Arc<QueueRecord>>,
        now: Moment,
    ) -> Vec<QueueView> {
        let mut views: Vec<Option<QueueView>> = Vec::with_capacity(records.len());
        let mut far = Vec::new();
        for record in records {
            let whereabouts = self.whereabouts(&record);
            if let Some(hosted) = self.queue(record.id) {
                let (view, aftermath) = hosted.view(self.around(now));
                self.see_to(&hosted, aftermath, now);
                views.push(view.map(|view| QueueView { whereabouts, ..view }));
            } else if let Some(remote) = self.remote(record.id) {
                let is_led = whereabouts.as_ref().is_some_and(|it| it.leader.is_some());
                far.extend(is_led.then_some((views.len(), remote)));
                views.push(Some(QueueView { whereabouts, ..QueueView::unseen(record) }));
            }
        }
        let (places, remotes): (Vec<_>, Vec<_>) = far.into_iter().unzip();
        let answers = self.ask_all(&remotes, &Question::View, now);
        for (place, answer) in places.into_iter().zip(answers) {
            let view = &mut views[place];
            match answer {
                Some(Answer::Denied(_)) => *view = None,
                answer => view.iter_mut().for_each(|view| fill(view, answer.as_ref())),
            }
        }
        views.into_iter().flatten().collect()
    }

    /// What a node of the cluster is called. `None` when there is no cluster.
    pub fn name_of_node(&self, node: NodeNumber) -> Option<String> {
        Some(self.fellowship.as_ref()?.fellows().name_of(node))
    }
}

/// Adds what the leader says. One that does not answer counts as gone.
fn fill(view: &mut QueueView, answer: Option<&Answer>) {
    let Some(Answer::View(seen)) = answer else {
        if let Some(whereabouts) = &mut view.whereabouts {
            whereabouts.state = QueueState::Down;
        }
        return;
    };
    view.ready = seen.ready;
    view.unacknowledged = seen.unacknowledged;
    view.ready_octets = seen.ready_octets;
    view.unacknowledged_octets = seen.unacknowledged_octets;
    let consumers = seen.consumers.iter().map(|(subscriber, is_active)| ConsumerView {
        subscriber: Arc::new(subscriber.clone()),
        is_active: *is_active,
    });
    view.consumers = consumers.collect();
}
