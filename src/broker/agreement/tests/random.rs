//! Whatever clients and operators do on whatever node: all nodes come to the same.

use std::sync::Arc;

use super::*;
use crate::{
    broker::{
        Binding, ExchangeRecord, Permission, PermissionView, PolicyKind, QueueRecord, User,
        facts::tests::{
            HOME, guest, policy,
            random::{EXCHANGES, QUEUES, a_binding, a_queue, an_exchange, word},
        },
        random::Random,
    },
    model::{
        ExchangeName, FieldValue, LogPosition, Placement, QueueId, QueueName, ShortString,
        VirtualHostName, VirtualHostOptions,
    },
};

/// One client on each node, one of whom leaves now and then.
struct Play {
    random: Random,
    clients: Vec<Client>,
    brokers: Vec<Arc<Broker>>,
    connections: u64,
}

impl Play {
    fn new(seed: u64, brokers: Vec<Arc<Broker>>) -> Self {
        let clients = [1, 2, 3]
            .map(|number: u32| client_of(&brokers[number as usize - 1], connection(number, 1).0));
        let random = Random::new(seed * 0x9e37_79b9);
        Self { random, clients: clients.into(), brokers, connections: 1 }
    }

    /// Says whether it was done.
    fn act(&mut self) -> bool {
        let actor = self.random.below(3);
        if self.random.below(5) == 0 { self.operate(actor) } else { self.declare(actor).is_ok() }
    }

    fn declare(&mut self, actor: usize) -> Result<(), Refusal> {
        let random = &mut self.random;
        let (exchange, queue) = (word(random, &EXCHANGES), word(random, &QUEUES));
        let choice = random.below(20);
        let client = &mut self.clients[actor];
        match choice {
            0..4 => client.declare_exchange(&an_exchange(exchange, random)),
            4..8 => client.declare_queue(&a_queue(queue, client.id(), random), NOW).map(drop),
            8..14 => client.bind(a_binding(random), NOW),
            14..16 => {
                let bindings = self.brokers[actor].bindings(&HOME).unwrap_or_default();
                let choice = random.below(7);
                bindings.get(choice).map_or(Ok(()), |binding| client.unbind(binding))
            }
            16 => client.delete_exchange(&ExchangeName::from_static(exchange), false),
            17..19 => {
                client.delete_queue(&QueueName::from_static(queue), false, false, NOW).map(drop)
            }
            _ => {
                self.connections += 1;
                self.clients[2].leave(NOW);
                let id = connection(3, self.connections);
                self.clients[2] = client_of(&self.brokers[2], id.0);
                Ok(())
            }
        }
    }

    fn operate(&mut self, actor: usize) -> bool {
        let broker = &self.brokers[actor];
        let random = &mut self.random;
        let user = ShortString::from_static(word(random, &["anna", "bert"]));
        let place = VirtualHostName::from_static(word(random, &["u", "v"]));
        let length = random.below(3) as i64 + 1;
        let kind = *random.one_of(&[PolicyKind::User, PolicyKind::Operator]);
        let position = match random.below(10) {
            0 => Some(broker.put_user(user, guest(b"secret"))),
            1 => Some(broker.put_user(user, User::default())),
            2 => broker.delete_user(&user),
            3 => {
                let description = length.to_string();
                let options = VirtualHostOptions { description, ..VirtualHostOptions::default() };
                Some(broker.put_virtual_host(place, options))
            }
            4 => broker.delete_virtual_host(&place, NOW),
            5 => {
                let permission = Permission::full();
                let held = PermissionView { user, virtual_host: place, permission };
                broker.set_permission(held).ok()
            }
            6 => broker.clear_permission(&user, &place),
            7 => Some(broker.set_global_parameter(user, FieldValue::Int64(length))),
            8 => broker.set_policy(&HOME, kind, policy(kind, "^[pq]", length), NOW).ok(),
            _ => broker.clear_policy(&HOME, kind, &ShortString::from_static("p"), NOW).ok(),
        };
        assert_ne!(position, Some(LogPosition::NEVER));
        position.is_some()
    }
}

type Things = (Vec<ExchangeRecord>, Vec<QueueRecord>, Vec<Arc<Binding>>);

/// What there is, wherever it is.
fn things(broker: &Broker) -> Things {
    let exchanges = broker.exchanges(&HOME).unwrap_or_default();
    let exchanges = exchanges.iter().map(|it| ExchangeRecord::clone(it)).collect();
    let somewhere = |it: &Arc<QueueRecord>| {
        let placement = Placement::default();
        QueueRecord { id: QueueId(0), placement, ..QueueRecord::clone(it) }
    };
    let mut queues: Vec<_> =
        broker.queue_records(&HOME).unwrap_or_default().iter().map(somewhere).collect();
    queues.sort_by(|one, other| one.name.cmp(&other.name));
    (exchanges, queues, broker.bindings(&HOME).unwrap_or_default())
}

fn check_alike(one: &Broker, other: &Broker, when: &str) {
    assert_eq!(things(one), things(other), "{when}");
    assert_eq!(one.users(), other.users(), "{when}");
    assert_eq!(one.permissions(), other.permissions(), "{when}");
    assert_eq!(one.virtual_hosts(), other.virtual_hosts(), "{when}");
    assert_eq!(one.global_parameters(), other.global_parameters(), "{when}");
    for kind in [PolicyKind::User, PolicyKind::Operator] {
        assert_eq!(one.policies(&HOME, kind), other.policies(&HOME, kind), "{when}");
    }
}

/// A node that is alone.
fn single() -> Arc<Broker> {
    let broker = Broker::new(Arc::new(Nowhere), Directory::new(["guest"]), None);
    broker.establish(origins("guest"));
    Arc::new(broker)
}

#[test]
fn nodes_together_come_to_what_a_single_one_does() {
    for seed in 1..=4 {
        let group = Group::new();
        let single = single();
        let mut play = Play::new(seed, [1, 2, 3].map(|number| group.broker(number)).to_vec());
        let mut alone = Play::new(seed, vec![Arc::clone(&single); 3]);
        for step in 0..250 {
            let when = format!("seed {seed}, step {step}");
            let (did, would) = (play.act(), alone.act());
            group.work();
            assert_eq!(did, would, "{when}");
            if step % 10 == 0 {
                group.state(&when);
                check_alike(&group.broker(2), &single, &when);
            }
        }
    }
}

#[test]
fn nodes_of_which_some_are_late_come_to_the_same_and_come_up_again_as_they_were() {
    let mut voids = 0;
    for seed in 1..=3 {
        let group = Group::new();
        let mut play = Play::new(seed, [1, 2, 3].map(|number| group.broker(number)).to_vec());
        for round in 0..40 {
            let when = format!("seed {seed}, round {round}");
            let late = play.random.below(4) as u32;
            (1..=3).filter(|number| *number == late).for_each(|number| group.delay(number, true));
            for _ in 0..8 {
                play.act();
                group.work();
            }
            (1..=3).for_each(|number| group.delay(number, false));
            let state = group.state(&when);
            let node = play.random.below(3) as u32 + 1;
            let heir = group.restarted(&group.at(node)).broker;
            assert!(heir.agreed_state() == state, "{when}: node {node} came up as another");
            assert_eq!(heir.agreed_index(), group.broker(node).agreed_index(), "{when}");
        }
        voids += group.log().voids;
    }
    assert!(voids > 5, "only {voids} decisions were void");
}

#[test]
fn a_state_makes_a_new_node_and_an_old_one_what_the_others_are() {
    for seed in 1..=3 {
        let group = Group::new();
        let mut play = Play::new(seed, [1, 2, 1].map(|number| group.broker(number)).to_vec());
        for round in 0..10 {
            let when = format!("seed {seed}, round {round}");
            let old = group.at(3);
            group.delay(3, true);
            for _ in 0..20 {
                play.act();
                group.work();
            }
            let one = group.broker(1);
            let (index, state) = (one.agreed_index(), one.agreed_state());
            let new = group.member(4 + round);
            for node in [&old, &new] {
                node.broker.install_agreed(index, &state, NOW).expect("well-formed");
                assert!(node.broker.agreed_state() == state, "{when}");
                check_alike(&node.broker, &one, &when);
                let heir = group.restarted(node).broker;
                assert!(heir.agreed_state() == state, "{when}: it came up as another");
                assert_eq!(heir.agreed_index(), index, "{when}");
            }
            group.delay(3, false);
            group.state(&when);
        }
    }
}
