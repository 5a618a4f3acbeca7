//! Consumers that acknowledge, requeue and reject, and go on after every loss.

use super::{
    ledger::{Number, Receipt},
    load::{self, Common, QUEUES, next_life},
};
use crate::{lapin_words::table, random::Random};
use futures_lite::StreamExt;
use lapin::{Channel, Connection, ConnectionProperties, message::Delivery, options::*};
use std::{sync::atomic::Ordering::Relaxed, time::Duration};
use tokio::time::timeout;

/// How long nothing may arrive before what has been received is acknowledged.
const IDLE: Duration = Duration::from_millis(30);
/// Deliveries after which a consumer makes sure that the broker has taken its acknowledgements.
const SURE_EVERY: usize = 40;
/// One message of so many goes back to the queue where a consumer does that.
const REQUEUED: usize = 40;

/// What a consumer does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Character {
    /// As a place in [`QUEUES`].
    pub queue: usize,
    pub prefetch: u16,
    /// One acknowledgement for so many messages.
    pub acks_every: usize,
    pub requeues: bool,
}

pub(super) struct Consumer {
    common: Common,
    index: usize,
    character: Character,
    random: Random,
    /// Received, in the present life, and not acknowledged.
    held: Vec<Number>,
    last: Option<Delivery>,
    /// Settled, but the broker may not have heard it.
    unsure: Vec<Number>,
}

impl Consumer {
    pub(super) fn new(common: Common, index: usize, character: Character, random: Random) -> Self {
        let (held, unsure) = (Vec::new(), Vec::new());
        Self { common, index, character, random, held, last: None, unsure }
    }

    /// Consumes in one life of the broker after the other, until told to stop.
    pub(super) async fn run(mut self) {
        let mut address = self.common.address.clone();
        while address.changed().await.is_ok() {
            let (life, url) = address.borrow_and_update().clone();
            (self.held, self.last, self.unsure) = (Vec::new(), None, Vec::new());
            let outcome = tokio::select! {
                outcome = self.live(&url) => outcome,
                () = next_life(&mut address, life) => Ok(()),
            };
            match outcome {
                Ok(()) if self.common.stop.load(Relaxed) => return,
                Ok(()) => {}
                Err(error) => {
                    let client = format!("consumer {}", self.index);
                    self.common.ledger.gave_up(life, &client, &error.to_string());
                }
            }
        }
    }

    async fn live(&mut self, url: &str) -> lapin::Result<()> {
        let life = self.common.ledger.life();
        let connection = Connection::connect(url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        channel.basic_qos(self.character.prefetch, BasicQosOptions::default()).await?;
        let queue = QUEUES[self.character.queue];
        let options = BasicConsumeOptions::default();
        let mut deliveries =
            channel.basic_consume(queue.into(), "".into(), options, table([])).await?;
        loop {
            match timeout(IDLE, deliveries.next()).await {
                Ok(Some(delivery)) => self.take(delivery?).await?,
                Ok(None) => return Err(lapin::ErrorKind::InvalidChannel(channel.id()).into()),
                Err(_) => self.acknowledge().await?,
            }
            if self.unsure.len() >= SURE_EVERY {
                self.make_sure(&channel, life).await?;
            }
            if self.held.is_empty() && self.common.stop.load(Relaxed) {
                break;
            }
        }
        self.make_sure(&channel, life).await?;
        connection.close(200, "done".into()).await
    }

    async fn take(&mut self, delivery: Delivery) -> lapin::Result<()> {
        let queue = self.character.queue;
        let Some(number) = load::read(&delivery.data) else {
            self.common.ledger.fault(&format!("other octets came out of {}", QUEUES[queue]));
            return Ok(());
        };
        let receipt = Receipt { consumer: self.index, queue, redelivered: delivery.redelivered };
        self.common.ledger.received(number, receipt);
        if queue == load::WORK && load::is_rejected(number) {
            self.common.ledger.rejected(queue, number);
            delivery.reject(BasicRejectOptions { requeue: false }).await?;
            self.unsure.push(number);
            return Ok(());
        }
        if self.character.requeues && self.random.chance(REQUEUED) {
            let options = BasicNackOptions { requeue: true, ..Default::default() };
            return delivery.nack(options).await.map(drop);
        }
        self.held.push(number);
        self.last = Some(delivery);
        if self.held.len() >= self.character.acks_every {
            self.acknowledge().await?;
        }
        Ok(())
    }

    /// One word for all that is held.
    async fn acknowledge(&mut self) -> lapin::Result<()> {
        if let Some(last) = self.last.take() {
            last.ack(BasicAckOptions { multiple: self.character.acks_every > 1 }).await?;
            self.unsure.append(&mut self.held);
        }
        Ok(())
    }

    /// An answer on the same channel comes after all that was said before.
    async fn make_sure(&mut self, channel: &Channel, life: usize) -> lapin::Result<()> {
        let queue = QUEUES[self.character.queue];
        let options = QueueDeclareOptions { passive: true, ..Default::default() };
        channel.queue_declare(queue.into(), options, table([])).await?;
        self.common.ledger.settled(self.character.queue, &self.unsure, life);
        self.unsure.clear();
        Ok(())
    }
}
