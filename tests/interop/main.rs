//! Other people's clients against a broker process of its own: `interop/` holds their programs.
//!
//! `LEVERET_INTEROP_URL` names a running broker to test instead; `LEVERET_INTEROP_BROKER` names a
//! program to start in place of `leveret`, such as `interop/oracle/serve`, a real RabbitMQ. The
//! tests of durability start a broker of their own in any case.

#[cfg(test)]
mod administration;
#[cfg(test)]
mod broker;
#[cfg(test)]
mod clients;
#[cfg(test)]
mod cluster;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod documents;
#[cfg(test)]
mod durability;
#[cfg(test)]
mod kept_by_exchanges;
#[cfg(test)]
mod lapin_client;
#[cfg(test)]
mod lapin_words;
#[cfg(test)]
mod lasting;
#[cfg(test)]
mod namespace;
#[cfg(test)]
mod pika_durability;
#[cfg(test)]
mod process;
#[cfg(test)]
#[expect(dead_code, reason = "what is shared has more than the crash loop needs")]
#[path = "../shared/random.rs"]
mod random;
#[cfg(test)]
mod relay;
#[cfg(test)]
mod rights;
#[cfg(test)]
mod tls;
