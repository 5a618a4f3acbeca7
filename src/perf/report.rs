//! What a run has shown: for people, or as JSON.

use std::fmt;

use hdrhistogram::Histogram;
use serde::Serialize;

/// The result of a run of publishers and consumers.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Within the measured time.
    pub measured: Measured,
    /// From the first publish until everything had arrived, or was given up.
    pub whole: Whole,
    /// How long after its scheduled moment each message was received.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<Percentiles>,
    /// How long after its scheduled moment the generator sent it: what of the latency is its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lateness: Option<Percentiles>,
    /// How long after it was written each message was confirmed, it and all before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirm: Option<Percentiles>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verification: Option<Verification>,
}

/// What happened within the measured time, and what it cost.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    pub seconds: f64,
    pub published: u64,
    pub received: u64,
    pub published_per_second: f64,
    pub received_per_second: f64,
    /// Of bodies received; published, where nobody consumes.
    pub megabytes_per_second: f64,
    /// Processor time per message received; per message published, where nobody consumes.
    pub broker_microseconds_per_message: Option<f64>,
    pub client_microseconds_per_message: f64,
    pub broker_resident_megabytes: Option<f64>,
}

/// Everything that was sent, and what became of it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Whole {
    pub seconds: f64,
    pub published: u64,
    pub confirmed: u64,
    pub refused: u64,
    pub returned: u64,
    pub received: u64,
    /// Whether everything had arrived in the end.
    pub drained: bool,
    /// Messages in the queues when they were deleted.
    pub left: u64,
}

/// Percentiles in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Percentiles {
    pub count: u64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p99_9: f64,
    pub max: f64,
}

/// Every message accounted for.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Verification {
    pub lost: u64,
    pub duplicated: u64,
    pub out_of_order: u64,
    pub foreign: u64,
    pub redelivered: u64,
}

impl Verification {
    pub fn is_passed(&self) -> bool {
        (self.lost, self.duplicated, self.out_of_order, self.foreign) == (0, 0, 0, 0)
    }
}

impl Percentiles {
    pub(super) fn of(histogram_ns: &Histogram<u64>) -> Self {
        let at = |quantile| histogram_ns.value_at_quantile(quantile) as f64 / 1e3;
        Self {
            count: histogram_ns.len(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            max: histogram_ns.max() as f64 / 1e3,
        }
    }
}

/// For times in nanoseconds, up to an hour, to three digits.
pub(super) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 3_600_000_000_000, 3).expect("the bounds are in order")
}

impl fmt::Display for Report {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Measured { seconds, published, received, .. } = self.measured;
        writeln!(to, "measured      {seconds:.2} s")?;
        let rate = Grouped(self.measured.published_per_second);
        writeln!(to, "published     {rate} messages/s ({published})")?;
        let rate = Grouped(self.measured.received_per_second);
        let megabytes = self.measured.megabytes_per_second;
        writeln!(to, "received      {rate} messages/s ({received}), {megabytes:.2} MB/s")?;
        if let Some(cpu) = self.measured.broker_microseconds_per_message {
            let resident = self.measured.broker_resident_megabytes.unwrap_or_default();
            writeln!(to, "broker        {cpu:.3} µs CPU per message, {resident:.0} MB resident")?;
        }
        let cpu = self.measured.client_microseconds_per_message;
        writeln!(to, "client        {cpu:.3} µs CPU per message")?;
        let times = [
            ("latency", self.latency),
            ("sent late by", self.lateness),
            ("confirmed in", self.confirm),
        ];
        for (name, percentiles) in times {
            if let Some(percentiles) = percentiles {
                writeln!(to, "{name:13} {percentiles}")?;
            }
        }
        self.whole.fmt(to)?;
        if let Some(verification) = &self.verification {
            write!(to, "\nverification  {verification}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Whole {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seconds, published, confirmed, refused, returned, received, .. } = self;
        write!(to, "whole run     {published} published, {received} received in {seconds:.2} s")?;
        for (count, what) in
            [(confirmed, "confirmed"), (refused, "refused"), (returned, "returned")]
        {
            if *count > 0 {
                write!(to, ", {count} {what}")?;
            }
        }
        if !self.drained {
            write!(to, "; not everything arrived")?;
        }
        match self.left {
            0 => Ok(()),
            left => write!(to, "; {left} left in the queues"),
        }
    }
}

impl fmt::Display for Percentiles {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, p50, p90, p99, p99_9, max } = self;
        write!(to, "p50 {p50:.0} µs, p90 {p90:.0} µs, p99 {p99:.0} µs, ")?;
        write!(to, "p99.9 {p99_9:.0} µs, max {max:.0} µs ({count})")
    }
}

impl fmt::Display for Verification {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lost, duplicated, out_of_order, foreign, redelivered } = self;
        let verdict = if self.is_passed() { "passed" } else { "FAILED" };
        write!(
            to,
            "{verdict}: {lost} lost, {duplicated} duplicated, {out_of_order} out of order, "
        )?;
        write!(to, "{foreign} foreign, {redelivered} redelivered")
    }
}

/// A rate without its fraction, in groups of three digits.
pub(super) struct Grouped(pub f64);

impl fmt::Display for Grouped {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{:.0}", self.0);
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                write!(to, " ")?;
            }
            write!(to, "{digit}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_shown_in_groups() {
        let shown: Vec<_> =
            [0.4, 12.0, 999.6, 1234567.0].map(|rate| Grouped(rate).to_string()).into();
        assert_eq!(shown, ["0", "12", "1 000", "1 234 567"]);
    }

    #[test]
    fn percentiles_are_in_microseconds() {
        let mut histogram = histogram();
        for microseconds in 1..=1000_u64 {
            histogram.record(microseconds * 1000).unwrap();
        }
        let percentiles = Percentiles::of(&histogram);
        assert_eq!(percentiles.count, 1000);
        assert!((percentiles.p50 - 500.0).abs() < 1.0, "{percentiles}");
        assert!((percentiles.p99 - 990.0).abs() < 2.0, "{percentiles}");
        assert!((percentiles.max - 1000.0).abs() < 1.0, "{percentiles}");
    }
}
