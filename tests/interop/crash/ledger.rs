//! Everything that clients were told, and whether it can be true of a broker that loses nothing.

use super::load::{self, DEAD, FOREIGN, QUEUES, WORK};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard},
};

/// Faults beyond these are counted only.
const SHOWN_FAULTS: usize = 20;

/// A message: who published it, as the how many-th.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Number {
    pub publisher: usize,
    pub sequence: u64,
}

/// Who received, and how: a consumer keeps its number through all its connections.
#[derive(Clone, Copy, Debug)]
pub(super) struct Receipt {
    pub consumer: usize,
    /// As a place in [`QUEUES`].
    pub queue: usize,
    pub redelivered: bool,
}

/// Shared by all clients of a run.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    book: Arc<Mutex<Book>>,
}

#[derive(Debug, Default)]
struct Book {
    figures: Figures,
    faults: Faults,
    messages: BTreeMap<Number, Message>,
    copies: BTreeMap<(usize, Number), Copied>,
    /// The last sequence not redelivered, by consumer, queue and publisher.
    order: BTreeMap<(usize, usize, usize), u64>,
    /// Lives of the broker before this one.
    life: usize,
    /// Counts what clients do, so that it can be said what came first.
    clock: u64,
    /// By life, the clock at the publication of the last message that was confirmed: everything
    /// that the broker had done by then is safe.
    safe: BTreeMap<usize, u64>,
    /// Copies of confirmed messages that nobody has received.
    missing: usize,
    /// Whether the broker is meant to be there.
    is_alive: bool,
}

#[derive(Debug, Default)]
struct Message {
    life: usize,
    published: u64,
    confirmed: bool,
}

/// A message in one queue.
#[derive(Debug, Default)]
struct Copied {
    received: u32,
    rejected: u32,
    fresh: u32,
    /// When the broker had certainly taken its settlement: the life and the clock.
    settled: Option<(usize, u64)>,
}

/// What has moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    confirmed: u64,
    received: u64,
}

impl Progress {
    pub(super) fn is_beyond(&self, other: &Self) -> bool {
        self.confirmed > other.confirmed && self.received > other.received
    }
}

impl Ledger {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().expect("nobody panics with it")
    }

    /// A message is about to be published.
    pub(super) fn published(&self, number: Number) {
        let book = &mut *self.book();
        book.clock += 1;
        book.figures.published += 1;
        // What comes from another process may be heard of by its receipt first.
        let message = book.messages.entry(number).or_default();
        (message.life, message.published) = (book.life, book.clock);
    }

    pub(super) fn confirmed(&self, number: Number) {
        let book = &mut *self.book();
        let Some(message) = book.messages.get_mut(&number) else {
            return book.fault(format!("{number:?} is confirmed, and was not published"));
        };
        message.confirmed = true;
        book.figures.confirmed += 1;
        // When another process published is not known well enough to say what came before it.
        if number.publisher != FOREIGN {
            let safe = book.safe.entry(message.life).or_default();
            *safe = message.published.max(*safe);
        }
        let has_come = |queue| book.has_come(queue, number);
        book.missing += load::targets(number).into_iter().filter(|queue| !has_come(*queue)).count();
    }

    pub(super) fn refused(&self, number: Number) {
        self.book().fault(format!("{number:?} is refused"));
    }

    pub(super) fn received(&self, number: Number, receipt: Receipt) {
        self.book().received(number, receipt);
    }

    /// A dead letter will come of it.
    pub(super) fn rejected(&self, queue: usize, number: Number) {
        self.book().copies.entry((queue, number)).or_default().rejected += 1;
    }

    /// The broker has certainly taken the settlement of these, in `life`.
    pub(super) fn settled(&self, queue: usize, numbers: &[Number], life: usize) {
        let book = &mut *self.book();
        book.clock += 1;
        if book.life != life {
            return;
        }
        for number in numbers {
            let copied = book.copies.entry((queue, *number)).or_default();
            copied.settled = Some((life, book.clock));
        }
    }

    /// Clients can rely on the broker from now on.
    pub(super) fn lives(&self) {
        self.book().is_alive = true;
    }

    /// The broker is about to die: a client that loses its connection is right.
    pub(super) fn dies(&self) {
        self.book().is_alive = false;
    }

    /// The broker's life has ended; what clients hear from now on, they hear late.
    pub(super) fn died(&self) {
        let book = &mut *self.book();
        book.figures.kills += 1;
        book.life += 1;
    }

    /// A client cannot go on in `life`.
    pub(super) fn gave_up(&self, life: usize, client: &str, why: &str) {
        let book = &mut *self.book();
        if book.is_alive && book.life == life {
            book.fault(format!("{client} gives up on a broker that lives: {why}"));
        }
    }

    pub(super) fn life(&self) -> usize {
        self.book().life
    }

    pub(super) fn fault(&self, what: &str) {
        self.book().fault(what.to_owned());
    }

    pub(super) fn progress(&self) -> Progress {
        let figures = self.book().figures;
        Progress { confirmed: figures.confirmed, received: figures.received }
    }

    /// Copies of confirmed messages that nobody has received.
    pub(super) fn missing(&self) -> usize {
        self.book().missing
    }

    pub(super) fn figures(&self) -> Figures {
        self.book().figures
    }

    pub(super) fn faults(&self) -> Faults {
        self.book().faults.clone()
    }

    /// Names what is missing: to be called when nothing more can come.
    pub(super) fn close(&self) {
        let book = &mut *self.book();
        let confirmed = book.messages.iter().filter(|(_, message)| message.confirmed);
        let wanted = confirmed.flat_map(|(number, _)| {
            load::targets(*number).into_iter().map(|queue| (queue, *number))
        });
        let lost: Vec<_> =
            wanted.filter(|(queue, number)| !book.has_come(*queue, *number)).collect();
        book.figures.lost = lost.len() as u64;
        for (queue, number) in lost {
            book.fault(format!("{number:?}, confirmed, never came out of {}", QUEUES[queue]));
        }
    }
}

impl Book {
    fn received(&mut self, number: Number, receipt: Receipt) {
        let Receipt { consumer, queue, redelivered } = receipt;
        let name = QUEUES[queue];
        self.figures.received += 1;
        let is_known = number.publisher == FOREIGN || self.messages.contains_key(&number);
        if !is_known || !load::targets(number).contains(&queue) {
            return self.fault(format!("{number:?} came out of {name} and was never sent there"));
        }
        if self.messages.entry(number).or_default().confirmed && !self.has_come(queue, number) {
            self.missing -= 1;
        }
        let rejections = self.copies.get(&(WORK, number)).map_or(0, |work| work.rejected);
        let copied = self.copies.entry((queue, number)).or_default();
        copied.received += 1;
        copied.fresh += u32::from(!redelivered);
        let (again, fresh, settled) = (copied.received > 1, copied.fresh, copied.settled);
        if again {
            self.figures.duplicates += 1;
        }
        // A crash may undo a rejection with the dead letter that came of it, and both are done
        // again: there is a new dead letter for every rejection at most.
        let allowed = if queue == DEAD { rejections } else { 1 };
        if again && !redelivered && fresh > allowed {
            self.fault(format!("{number:?} came out of {name} again, not marked redelivered"));
        }
        if queue == DEAD {
            self.figures.dead_letters += u64::from(!again);
            if rejections == 0 {
                self.fault(format!("{number:?} is a dead letter that nobody rejected"));
            }
        }
        if let Some((life, clock)) = settled
            && self.safe.get(&life).is_some_and(|safe| clock < *safe)
        {
            self.figures.returned += 1;
            self.fault(format!("{number:?} is back in {name}, though its settlement was safe"));
        }
        if !redelivered {
            self.in_order(number, receipt.queue, consumer);
        }
    }

    /// Dead letters have the order of their rejections, not that of their publication.
    fn in_order(&mut self, number: Number, queue: usize, consumer: usize) {
        let last = self.order.insert((consumer, queue, number.publisher), number.sequence);
        if queue != DEAD && last.is_some_and(|last| last > number.sequence) {
            let name = QUEUES[queue];
            self.fault(format!("{number:?} came out of {name} after {}", last.unwrap_or_default()));
        }
    }

    fn has_come(&self, queue: usize, number: Number) -> bool {
        self.copies.get(&(queue, number)).is_some_and(|copied| copied.received > 0)
    }

    fn fault(&mut self, what: String) {
        self.faults.count += 1;
        if self.faults.shown.len() < SHOWN_FAULTS {
            self.faults.shown.push(format!("in life {}: {what}", self.life));
        }
    }
}

/// What a run has seen.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Figures {
    kills: u64,
    published: u64,
    confirmed: u64,
    received: u64,
    duplicates: u64,
    dead_letters: u64,
    returned: u64,
    lost: u64,
}

impl fmt::Display for Figures {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kills, published, confirmed, received, duplicates, .. } = self;
        let Self { dead_letters, returned, lost, .. } = self;
        writeln!(to, "kills                  {kills}")?;
        writeln!(to, "messages published     {published}")?;
        writeln!(to, "messages confirmed     {confirmed}")?;
        writeln!(to, "deliveries received    {received}")?;
        writeln!(to, "  of these again       {duplicates}")?;
        writeln!(to, "dead letters           {dead_letters}")?;
        writeln!(to, "back though settled    {returned}")?;
        write!(to, "lost                   {lost}")
    }
}

/// What must not be.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults {
    count: usize,
    shown: Vec<String>,
}

impl Faults {
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(to, "{} faults", self.count)?;
        self.shown.iter().try_for_each(|fault| writeln!(to, "{fault}"))
    }
}

/// One message to one queue, published and confirmed in the first life; what comes of it then.
#[cfg(test)]
fn check(publisher: usize, story: impl Fn(&Ledger, Number), expected: &str) {
    let ledger = Ledger::default();
    let number = Number { publisher, sequence: 3 };
    ledger.published(number);
    ledger.confirmed(number);
    story(&ledger, number);
    ledger.close();
    let faults = ledger.faults().to_string();
    assert!(faults.contains(expected), "{faults}");
}

#[cfg(test)]
fn receive(ledger: &Ledger, number: Number, queue: usize, redelivered: bool) {
    ledger.received(number, Receipt { consumer: 0, queue, redelivered });
}

#[test]
fn what_a_broker_may_do_is_no_fault() {
    let redelivered_after_a_kill = |ledger: &Ledger, number| {
        receive(ledger, number, 0, false);
        ledger.settled(0, &[number], 0);
        ledger.died();
        receive(ledger, number, 0, true);
    };
    check(0, redelivered_after_a_kill, "0 faults");
    let rejected_again_after_a_kill = |ledger: &Ledger, number| {
        for redelivered in [false, true] {
            receive(ledger, number, WORK, redelivered);
            ledger.rejected(WORK, number);
            receive(ledger, number, DEAD, false);
            ledger.died();
        }
    };
    check(2, rejected_again_after_a_kill, "0 faults");
}

#[test]
fn what_a_broker_may_not_do_is_found() {
    check(0, |_, _| {}, "confirmed, never came out of crash.one");
    let twice = |ledger: &Ledger, number| {
        receive(ledger, number, 0, false);
        receive(ledger, number, 0, false);
    };
    check(0, twice, "came out of crash.one again, not marked redelivered");
    let backwards = |ledger: &Ledger, number| {
        let later = Number { sequence: 6, ..number };
        ledger.published(later);
        receive(ledger, later, 0, false);
        receive(ledger, number, 0, false);
    };
    check(0, backwards, "came out of crash.one after 6");
    let settled_safely = |ledger: &Ledger, number| {
        receive(ledger, number, 0, false);
        ledger.settled(0, &[number], 0);
        let later = Number { sequence: 4, ..number };
        ledger.published(later);
        ledger.confirmed(later);
        receive(ledger, later, 1, false);
        ledger.died();
        receive(ledger, number, 0, true);
    };
    check(0, settled_safely, "is back in crash.one, though its settlement was safe");
    let doubled = |ledger: &Ledger, number| {
        receive(ledger, number, WORK, false);
        ledger.rejected(WORK, number);
        receive(ledger, number, DEAD, false);
        receive(ledger, number, DEAD, false);
    };
    check(2, doubled, "came out of crash.dead again, not marked redelivered");
    check(2, |ledger, number| receive(ledger, number, WORK, false), "never came out of crash.dead");
    check(0, |ledger, number| receive(ledger, number, 1, false), "was never sent there");
}
