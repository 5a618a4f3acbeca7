//! What both sides of a connection can bear: channels, frame size, heartbeat.

use super::settings::Settings;
use crate::wire::method::{ConnectionTune, ConnectionTuneOk};

/// The smallest largest frame (AMQP 0-9-1 §4.2.3; RabbitMQ up to 4.0, which later asks for 8192).
const FRAME_MIN: u32 = 4096;

/// The largest frame before both sides have agreed on one (RabbitMQ 4.1).
pub(super) const FRAME_MAX_BEFORE_TUNING: usize = 8192;

/// What was agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tuning {
    /// 0 is no limit.
    pub(super) channel_max: u16,
    /// 0 is no limit.
    pub(super) frame_max: usize,
    /// In seconds; 0 is none.
    pub(super) heartbeat: u16,
}

impl Tuning {
    /// What holds before the client has answered.
    pub(super) const fn initial() -> Self {
        Self { channel_max: 0, frame_max: FRAME_MAX_BEFORE_TUNING, heartbeat: 0 }
    }

    /// What the client accepted, unless it asks for more than it was offered.
    ///
    /// A zero takes what was offered, where RabbitMQ refuses it.
    pub(super) fn agree(settings: &Settings, answer: &ConnectionTuneOk) -> Option<Self> {
        let channel_max = bounded(answer.channel_max.into(), settings.channel_max.into())?;
        let frame_max = bounded(answer.frame_max, settings.frame_max)?;
        if frame_max != 0 && frame_max < FRAME_MIN {
            return None;
        }
        Some(Self {
            channel_max: u16::try_from(channel_max).expect("at most one of two 16 bit numbers"),
            frame_max: frame_max as usize,
            heartbeat: answer.heartbeat,
        })
    }
}

/// What the server offers.
pub(super) fn proposal(settings: &Settings) -> ConnectionTune {
    ConnectionTune {
        channel_max: settings.channel_max,
        frame_max: settings.frame_max,
        heartbeat: settings.heartbeat,
    }
}

fn bounded(wanted: u32, offered: u32) -> Option<u32> {
    match (wanted, offered) {
        (wanted, 0) => Some(wanted),
        (0, offered) => Some(offered),
        (wanted, offered) => (wanted <= offered).then_some(wanted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agreed(channel_max: u16, frame_max: u32) -> Option<(u16, usize)> {
        let answer = ConnectionTuneOk { channel_max, frame_max, heartbeat: 7 };
        let tuning = Tuning::agree(&Settings::default(), &answer)?;
        assert_eq!(tuning.heartbeat, 7);
        Some((tuning.channel_max, tuning.frame_max))
    }

    #[test]
    fn a_client_may_ask_for_less_and_not_for_more() {
        assert_eq!(agreed(10, 4096), Some((10, 4096)));
        assert_eq!(agreed(2047, 131_072), Some((2047, 131_072)));
        assert_eq!(agreed(2048, 131_072), None);
        assert_eq!(agreed(2047, 131_073), None);
        assert_eq!(agreed(2047, 4095), None);
    }

    #[test]
    fn zero_takes_what_was_offered() {
        assert_eq!(agreed(0, 0), Some((2047, 131_072)));
    }
}
