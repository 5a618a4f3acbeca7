//! `tx`: what takes effect only when the client commits.

use super::{
    Channel, Expected,
    unacked::{Taken, Unacked},
};
use crate::{
    model::{Message, Outcome, Settlement},
    session::{batch, connection::Connection, exception::Fault, request::Operation},
    wire::method::{TxCommitOk, TxRollbackOk, TxSelectOk},
};

/// The settlements of a transaction; its publications wait at the broker.
#[derive(Debug, Default)]
pub(super) struct Transaction(Vec<(Taken, Outcome)>);

impl Transaction {
    /// Takes deliveries out of the ledger until the commit; whether the tag is outstanding.
    pub(super) fn settle(
        &mut self,
        tag: u64,
        multiple: bool,
        outcome: Outcome,
        unacked: &mut Unacked,
    ) -> bool {
        if multiple {
            return unacked.take_through(tag, |taken| self.0.push((taken, outcome)));
        }
        let taken = unacked.take(tag);
        self.0.extend(taken.map(|taken| (taken, outcome)));
        taken.is_some()
    }

    /// What is outstanding again after all.
    pub(super) fn into_taken(self) -> impl Iterator<Item = Taken> {
        self.0.into_iter().map(|(taken, _)| taken)
    }

    fn settlements(&mut self) -> (usize, Vec<Settlement>) {
        let mut settlements = Vec::new();
        let count = self.0.len();
        for (taken, outcome) in self.0.drain(..) {
            batch::group(&mut settlements, taken.queue, taken.position, outcome);
        }
        (count, settlements)
    }
}

impl Channel {
    pub(super) fn select_transaction(&mut self, connection: &mut Connection) -> Result<(), Fault> {
        if self.confirms.is_some() {
            return Err(Fault::TransactionWithConfirms);
        }
        self.transaction.get_or_insert_default();
        connection.outgoing.method(self.number, TxSelectOk {});
        Ok(())
    }

    pub(super) fn commit(&mut self, connection: &mut Connection) -> Result<(), Fault> {
        let transaction = self.transaction.as_mut().ok_or(Fault::NotTransactional)?;
        let (settled, settlements) = transaction.settlements();
        self.ask(Operation::Commit(settlements), Expected::Committed, (90, 20), connection);
        self.give_back(settled, connection);
        Ok(())
    }

    /// Mandatory messages that no queue took come back before the commit is said to be done.
    pub(super) fn committed(&self, unroutable: &[Message], connection: &mut Connection) {
        for message in unroutable {
            self.return_unroutable(message, connection);
        }
        self.send(Some(TxCommitOk {}.into()), connection);
    }

    pub(super) fn roll_back(&mut self, connection: &mut Connection) -> Result<(), Fault> {
        let transaction = self.transaction.as_mut().ok_or(Fault::NotTransactional)?;
        self.unacked.restore(std::mem::take(transaction).into_taken());
        let expected = Expected::Done(Some(TxRollbackOk {}.into()));
        self.ask(Operation::Rollback, expected, (90, 30), connection);
        Ok(())
    }
}
