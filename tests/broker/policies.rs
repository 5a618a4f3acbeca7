//! Policies that only a client can feel, changed while it uses a queue of 100,000 messages.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use crate::player::{Script, play, virtual_node::VirtualPeer};
use leveret::{
    broker::{Policy, PolicyDraft, PolicyKind},
    model::{FieldTable, FieldValue, ShortString, VirtualHostName},
    testing::Node,
};

const MANY: usize = 100_000;
const HOME: VirtualHostName = VirtualHostName::from_static("/");

/// What an operator does: sets or clears the `consumer-timeout` of the queue `q`.
fn time_out(node: &Node, milliseconds: Option<i64>) {
    let name = ShortString::from_static("p");
    let Some(milliseconds) = milliseconds else {
        node.broker().clear_policy(&HOME, PolicyKind::User, &name, node.now()).unwrap();
        return;
    };
    let key = ShortString::from_static("consumer-timeout");
    let draft = PolicyDraft {
        name,
        pattern: "^q$".into(),
        apply_to: String::new(),
        priority: FieldValue::Int64(0),
        definition: FieldTable::from_pairs([(key, FieldValue::Int64(milliseconds))]),
    };
    let policy = Policy::parse(PolicyKind::User, draft).unwrap();
    node.broker().set_policy(&HOME, PolicyKind::User, policy, node.now()).unwrap();
}

/// What a client says and hears; each time that it waits, the operator acts.
fn check(arguments: &str, conversation: &str, operator: &[Option<i64>]) {
    let publication = "> basic.publish routing-key=q body=a\n";
    let text = format!(
        "# A policy says how long a delivery may be unacknowledged.\n@ tune heartbeat=0\n\
         > queue.declare queue=q durable=true arguments={{{arguments}}}\n\
         < queue.declare-ok queue=q\n{}{conversation}",
        publication.repeat(MANY)
    );
    let script = Script::read(&text).unwrap();
    let mut peer = VirtualPeer::new("consumer_timeout = infinity");
    for milliseconds in operator.iter().copied() {
        peer.meanwhile.push_back(Box::new(move |node| time_out(node, milliseconds)));
    }
    play(&script, &mut peer).0.unwrap_or_else(|why| panic!("{arguments}: line {why}"));
}

#[test]
fn a_consumer_timeout_holds_for_what_is_out_when_its_policy_comes_changes_and_goes() {
    let conversation = r#"
> basic.qos prefetch-count=1
< basic.qos-ok
> basic.consume queue=q consumer-tag=c
< basic.consume-ok consumer-tag=c
< basic.deliver consumer-tag=c delivery-tag=1 body=a ...
! wait 3600s
< nothing
! wait 61s
< channel.close reply-code=406 reply-text="PRECONDITION_FAILED - delivery acknowledgement on \
channel 1 timed out. Timeout value used: 600000 ms. This timeout value can be configured, see \
consumers doc guide to learn more"
> channel.close-ok
2> queue.declare queue=q passive=true
2< queue.declare-ok queue=q message-count=100000
2> basic.get queue=q
2< basic.get-ok delivery-tag=1 redelivered=true message-count=99999 ...
! wait 7200s
2< nothing
! wait 61s
2< channel.close reply-code=406 reply-text=~"*Timeout value used: 1000 ms.*"
2> channel.close-ok
3> basic.get queue=q
3< basic.get-ok delivery-tag=1 redelivered=true message-count=99999 ...
! wait 900ms
! wait 59s
3< nothing
3> basic.ack delivery-tag=1
3> queue.declare queue=q passive=true
3< queue.declare-ok queue=q message-count=99999
"#;
    let operator = [Some(7_200_000), Some(600_000), None, Some(1000), Some(10_000), Some(60_000)];
    check("", conversation, &operator);
    check("x-queue-type: quorum", conversation, &operator);
}

#[test]
fn of_a_consumer_timeout_in_the_argument_and_in_a_policy_the_lower_counts() {
    let conversation = r#"
> basic.get queue=q
< basic.get-ok delivery-tag=1 message-count=99999 ...
! wait 6s
< channel.close reply-code=406 reply-text=~"*Timeout value used: 5000 ms.*"
> channel.close-ok
2> basic.get queue=q
2< basic.get-ok delivery-tag=1 redelivered=true message-count=99999 ...
! wait 2s
2< channel.close reply-code=406 reply-text=~"*Timeout value used: 1000 ms.*"
2> channel.close-ok
"#;
    check("x-consumer-timeout: 5000", conversation, &[Some(60_000), Some(1000)]);
}
