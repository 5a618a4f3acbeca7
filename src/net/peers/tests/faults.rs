//! Networks that are cut, nodes that stop and start, disks that are stuck.

use super::{proxy::Proxy, *};

/// Two nodes with a network between them for each direction of sending.
struct Networked {
    a: Node,
    b: Node,
    /// For what A sends, and what B sends.
    from_a: Proxy,
    from_b: Proxy,
}

async fn networked(down_after: Duration) -> Networked {
    let (mut a, mut b) = (Plan::new(A).await, Plan::new(B).await);
    let patience = Patience::of(down_after);
    (a.patience, b.patience) = (patience, patience);
    let (from_a, from_b) = (Proxy::to(&b.address).await, Proxy::to(&a.address).await);
    let (to_a, to_b) = (member(A, &from_b.address), member(B, &from_a.address));
    let mut both = Networked { a: a.start([to_b]), b: b.start([to_a]), from_a, from_b };
    both.a.until_up(B).await;
    both.b.until_up(A).await;
    both
}

impl Networked {
    async fn until_both_are_up(&mut self) {
        self.a.until_up(B).await;
        self.b.until_up(A).await;
    }
}

#[tokio::test]
async fn after_a_cut_the_nodes_meet_again_and_nothing_is_sent_twice() {
    let mut net = networked(Duration::from_secs(30)).await;
    let mut sent = 0_u32;
    for round in 0..5 {
        while net.a.peers.send(B, Class::Data, round, &[]) == Err(Unsent::NotConnected) {
            net.a.until_connected(B, Class::Data).await;
        }
        for _ in 0..100 {
            sent += 1;
            let payload = Bytes::copy_from_slice(&sent.to_le_bytes());
            net.a.peers.send(B, Class::Data, 100, &[payload]).unwrap();
        }
        net.from_a.cut();
        net.a.until_broken(B, Class::Data).await;
    }
    net.a.until_connected(B, Class::Data).await;
    net.a.peers.send(B, Class::Data, 200, &[]).unwrap();
    let mut last = 0;
    loop {
        let frame = net.b.next_frame().await;
        match frame.kind {
            200 => break,
            100 => {
                let number = u32::from_le_bytes(frame.payload[..].try_into().unwrap());
                assert!(number > last, "{number} after {last}");
                last = number;
            }
            _ => {}
        }
    }
    assert_eq!(net.a.peers.state(B), State::Up, "short cuts are no falls");
}

#[tokio::test]
async fn a_network_that_stands_still_takes_both_down_and_both_come_back() {
    let mut net = networked(Duration::from_secs(1)).await;
    net.from_a.set(false, false);
    net.from_b.set(false, false);
    assert_eq!(net.a.until_down(B).await, Why::Silent);
    assert_eq!(net.b.until_down(A).await, Why::Silent);
    net.from_a.set(true, true);
    net.from_b.set(true, true);
    net.until_both_are_up().await;
}

#[tokio::test]
async fn a_network_that_carries_in_one_direction_takes_both_down() {
    let mut net = networked(Duration::from_secs(1)).await;
    net.from_a.set(false, true);
    assert_eq!(net.b.until_down(A).await, Why::Silent);
    assert_eq!(net.a.until_down(B).await, Why::Deaf);
    net.from_a.set(true, true);
    net.until_both_are_up().await;
}

#[tokio::test]
async fn a_node_that_stops_is_down_at_once_and_up_again_as_it_starts_anew() {
    let patience = Patience::of(Duration::from_secs(60));
    let (mut a, mut b) = pair(|plan| plan.patience = patience).await;
    a.until_up(B).await;
    b.until_up(A).await;
    b.peers.stop().await;
    assert_eq!(a.until_down(B).await, Why::Died);
    let mut again = Plan::at(B, &b.address).await;
    again.me.incarnation = 2;
    let mut b = again.start([member(A, &a.address)]);
    assert_eq!(a.until_up(B).await, 2);
    b.until_up(A).await;
}

#[tokio::test]
async fn a_node_that_starts_anew_elsewhere_ends_its_former_self() {
    let (mut a, mut b) = pair(|_| {}).await;
    a.until_up(B).await;
    b.until_up(A).await;
    let mut again = Plan::new(B).await;
    again.me.incarnation = 2;
    a.peers.set_members([member(B, &again.address)].into());
    let mut new = again.start([member(A, &a.address)]);
    assert_eq!(a.until_down(B).await, Why::Restarted);
    assert_eq!(a.until_up(B).await, 2);
    new.until_up(A).await;
}

#[tokio::test]
async fn a_node_whose_disk_is_stuck_is_down_for_both() {
    let (mut a, mut b) = pair(|_| {}).await;
    a.until_up(B).await;
    b.until_up(A).await;
    b.recorder.pulse.lock().unwrap().oldest_sync = Duration::from_secs(6);
    assert_eq!(a.until_down(B).await, Why::Stuck);
    assert_eq!(b.until_down(A).await, Why::Deaf);
    a.peers.send(B, Class::Data, 5, &[]).unwrap();
    b.recorder.pulse.lock().unwrap().oldest_sync = Duration::ZERO;
    a.until_up(B).await;
    b.until_up(A).await;
}

#[tokio::test]
async fn members_come_and_go() {
    let (mut a, b) = pair(|_| {}).await;
    a.until_up(B).await;
    let c = Plan::new(C).await;
    let (peers, members) = (a.peers.clone(), [member(B, &b.address), member(C, &c.address)]);
    std::thread::spawn(move || peers.set_members(members.into())).join().unwrap();
    let mut c = c.start([member(A, &a.address)]);
    a.until_up(C).await;
    c.until_up(A).await;
    a.peers.set_members([member(C, &c.address)].into());
    assert_eq!(a.until_down(B).await, Why::Removed);
    assert_eq!(a.peers.send(B, Class::Data, 0, &[]), Err(Unsent::NotConnected));
    assert_eq!(a.peers.state(C), State::Up);
}

#[tokio::test]
async fn nothing_is_called_after_the_stop() {
    let (mut a, b) = pair(|_| {}).await;
    a.until_up(B).await;
    a.peers.stop().await;
    while a.events.try_recv().is_ok() {}
    b.peers.stop().await;
    a.peers.set_members(BTreeMap::new());
    drop(a.peers);
    assert!(a.events.try_recv().is_err());
    assert_eq!(Arc::strong_count(&a.recorder), 1, "no task is left");
}
