//! Publishers with confirms, which never publish a message twice.

use super::{
    ledger::Number,
    load::{self, Common, next_life},
    pause,
};
use crate::{lapin_words::persistent, random::Random};
use lapin::{Channel, Connection, ConnectionProperties, PublisherConfirm, options::*};
use std::{collections::VecDeque, sync::atomic::Ordering::Relaxed, time::Duration};
use tokio::time::timeout;

/// Publishers wait while more copies than this have not come out.
const BACKLOG: usize = 4000;
const CATCH_UP: Duration = Duration::from_millis(2);
/// How long to look for confirms that came before the connection was lost.
const LAST_WORD: Duration = Duration::from_millis(20);

pub(super) struct Publisher {
    common: Common,
    index: usize,
    window: usize,
    random: Random,
    published: u64,
    unconfirmed: VecDeque<(Number, PublisherConfirm)>,
}

impl Publisher {
    pub(super) fn new(common: Common, index: usize, window: usize, random: Random) -> Self {
        Self { common, index, window, random, published: 0, unconfirmed: VecDeque::new() }
    }

    /// Publishes in one life of the broker after the other, until told to stop.
    pub(super) async fn run(mut self) {
        let mut address = self.common.address.clone();
        while address.changed().await.is_ok() {
            let (life, url) = address.borrow_and_update().clone();
            let outcome = tokio::select! {
                outcome = self.live(&url) => outcome,
                () = next_life(&mut address, life) => Ok(()),
            };
            self.hear_last_words().await;
            match outcome {
                Ok(()) if self.common.stop.load(Relaxed) => return,
                Ok(()) => {}
                Err(error) => {
                    let client = format!("publisher {}", self.index);
                    self.common.ledger.gave_up(life, &client, &error.to_string());
                }
            }
        }
    }

    async fn live(&mut self, url: &str) -> lapin::Result<()> {
        let connection = Connection::connect(url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        while !self.common.stop.load(Relaxed) {
            while self.unconfirmed.len() >= self.window {
                self.hear().await?;
            }
            if self.common.ledger.missing() > BACKLOG {
                pause(CATCH_UP).await;
                continue;
            }
            self.publish(&channel).await?;
        }
        while !self.unconfirmed.is_empty() {
            self.hear().await?;
        }
        connection.close(200, "done".into()).await
    }

    async fn publish(&mut self, channel: &Channel) -> lapin::Result<()> {
        let number = Number { publisher: self.index, sequence: self.published };
        self.published += 1;
        let length = match self.random.below(60) {
            0 => self.random.below(600_000),
            1..=9 => self.random.below(20_000),
            _ => self.random.below(200),
        };
        let (exchange, key) = load::route(number);
        let body = load::body(number, length);
        self.common.ledger.published(number);
        let options = BasicPublishOptions::default();
        let published =
            channel.basic_publish(exchange.into(), key.into(), options, &body, persistent());
        self.unconfirmed.push_back((number, published.await?));
        Ok(())
    }

    /// The answer for the message that has waited longest, which stays there until it has come.
    async fn hear(&mut self) -> lapin::Result<()> {
        let Some((number, confirm)) = self.unconfirmed.front_mut() else { return Ok(()) };
        let (number, answer) = (*number, confirm.await);
        self.unconfirmed.pop_front();
        self.note(number, &answer?);
        Ok(())
    }

    fn note(&self, number: Number, confirmation: &lapin::Confirmation) {
        if confirmation.is_ack() {
            self.common.ledger.confirmed(number);
        } else {
            self.common.ledger.refused(number);
        }
    }

    /// Confirms may have come before the connection was lost: they count.
    async fn hear_last_words(&mut self) {
        while let Some((number, confirm)) = self.unconfirmed.pop_front() {
            if let Ok(Ok(confirmation)) = timeout(LAST_WORD, confirm).await {
                self.note(number, &confirmation);
            }
        }
    }
}
