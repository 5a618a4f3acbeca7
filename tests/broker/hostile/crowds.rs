//! Many clients at once: some that break off in the middle, some that are in each other's way.

use super::{
    client::{Client, HEADER, declaration, name, opening, publication, publish_to},
    subject::{Hosted, Subject, until},
};
use crate::random::Dice;
use leveret::{
    config::Config,
    wire::method::{
        BasicCancel, BasicConsume, BasicGet, ChannelClose, ChannelCloseOk, ChannelOpen,
        ConfirmSelect, Method, QueueDeclare, QueueDelete, QueuePurge,
    },
};
use std::{net::SocketAddr, thread};

const LANES: u32 = 4;
const CONNECTIONS: u32 = 2000;

const RACERS: u64 = 6;
const TURNS: u32 = 400;
const QUEUES: [&str; 3] = ["contested", "disputed", "wanted"];

#[test]
fn connections_that_break_off_leave_nothing_behind() {
    let broker = Subject::start();
    let mut witness = Client::open(broker.address());
    witness.call(1, declaration("shared"));
    let files = broker.open_files();
    let address = broker.address();
    thread::scope(|scope| {
        for lane in 0..LANES {
            scope.spawn(move || {
                let numbers = (0..CONNECTIONS).filter(|number| number % LANES == lane);
                numbers.for_each(|number| break_off(number, address));
            });
        }
    });
    until("no consumer is left", || witness.count("shared").1 == 0);
    until("no connection is left", || broker.open_files() <= files);
    for number in 0..CONNECTIONS {
        let declare = QueueDeclare { passive: true, ..declaration(&own_queue(number)) };
        let Method::ChannelClose(ChannelClose { reply_code, .. }) = witness.call(1, declare) else {
            panic!("the queue of {number} is still there");
        };
        assert_eq!(reply_code, 404, "the queue of {number} is still there");
        witness.send(1, ChannelCloseOk {});
        witness.call(1, ChannelOpen::default());
    }
}

/// Comes as far as the number has it, and is gone without a word.
fn break_off(number: u32, address: SocketAddr) {
    let mut client = Client::connect(address);
    let ready = opening(0);
    match number / LANES % 6 {
        0 => {}
        1 => client.write(HEADER),
        2 => client.write(&ready[..number as usize % ready.len()]),
        3 => client.write(&ready),
        stage => {
            let mut client = client.greet(0);
            let own = QueueDeclare { exclusive: true, ..declaration(&own_queue(number)) };
            client.call(1, own);
            client.call(1, BasicConsume { queue: name("shared"), ..BasicConsume::default() });
            let publication = publication(publish_to("shared"), &[7; 5000]);
            let sent = if stage == 4 { 2500 } else { publication.len() };
            client.write(&publication[..sent]);
        }
    }
}

fn own_queue(number: u32) -> String {
    format!("own-{number}")
}

#[test]
fn clients_that_race_for_the_same_queues_are_all_answered() {
    let broker = Hosted::start(Config::default());
    let address = broker.address();
    let seed = Dice::seed();
    thread::scope(|scope| {
        for racer in 0..RACERS {
            scope.spawn(move || {
                let dice = Dice(seed.wrapping_add(racer));
                let mut racer = Racer { client: Client::open(address), dice, tag: None };
                racer.client.call(1, ConfirmSelect::default());
                (0..TURNS).for_each(|_| racer.take_turn());
            });
        }
    });
    broker.stop();
}

struct Racer {
    client: Client,
    dice: Dice,
    /// Its latest consumer.
    tag: Option<leveret::model::ConsumerTag>,
}

impl Racer {
    fn take_turn(&mut self) {
        let queue = self.dice.pick(&QUEUES);
        let flag = self.dice.below(4) == 0;
        match self.dice.below(12) {
            0..=3 => {
                let exclusive = self.dice.below(8) == 0;
                self.ask(QueueDeclare { auto_delete: flag, exclusive, ..declaration(queue) });
            }
            4 => self.ask(QueueDelete {
                queue: name(queue),
                if_unused: flag,
                ..QueueDelete::default()
            }),
            5..=6 => self.ask(BasicConsume {
                queue: name(queue),
                no_ack: flag,
                ..BasicConsume::default()
            }),
            7 => self.ask(BasicGet { queue: name(queue), no_ack: flag, ..BasicGet::default() }),
            8 => self.ask(QueuePurge { queue: name(queue), ..QueuePurge::default() }),
            9 => {
                if let Some(consumer_tag) = self.tag.take() {
                    self.ask(BasicCancel { consumer_tag, no_wait: false });
                }
            }
            _ => {
                self.client.write(&publication(publish_to(queue), b"mine"));
                self.hear();
            }
        }
    }

    fn ask(&mut self, method: impl Into<Method>) {
        self.client.send(1, method);
        self.hear();
    }

    /// Waits for the answer; after a refusal the channel is opened again.
    fn hear(&mut self) {
        match self.answer() {
            Method::ChannelClose(_) => {
                self.tag = None;
                self.client.send(1, ChannelCloseOk {});
                self.client.send(1, ChannelOpen::default());
                assert!(matches!(self.answer(), Method::ChannelOpenOk(_)));
                self.client.send(1, ConfirmSelect::default());
                assert!(matches!(self.answer(), Method::ConfirmSelectOk(_)));
            }
            Method::BasicConsumeOk(ok) => self.tag = Some(ok.consumer_tag),
            Method::ConnectionClose(close) => panic!("{close:?}"),
            _ => {}
        }
    }

    fn answer(&mut self) -> Method {
        loop {
            let method = self.client.method();
            if !matches!(method, Method::BasicDeliver(_)) {
                return method;
            }
        }
    }
}
