//! Frames of all classes: their order, their size, and how many may be on their way.

use super::*;

fn numbered(number: u32) -> [Bytes; 1] {
    [Bytes::copy_from_slice(&number.to_le_bytes())]
}

fn number(payload: &[u8]) -> u32 {
    u32::from_le_bytes(payload.try_into().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_exchange_frames_of_all_classes_in_order() {
    const COUNT: u32 = 500;
    let plans = [Plan::new(A).await, Plan::new(B).await, Plan::new(C).await];
    let members: BTreeMap<_, _> = plans.iter().map(|p| member(p.me.node, &p.address)).collect();
    let mut nodes = plans.map(|plan| plan.start(members.clone()));
    for (node, others) in nodes.iter_mut().zip([[B, C], [A, C], [A, B]]) {
        node.until_open(&others).await;
    }
    for (node, others) in nodes.iter().zip([[B, C], [A, C], [A, B]]) {
        let everywhere = others.iter().flat_map(|to| Class::ALL.map(|class| (*to, class)));
        for (at, (to, class)) in (0..COUNT).flat_map(|at| everywhere.clone().map(move |w| (at, w)))
        {
            node.peers.send(to, class, (at % 256) as u8, &numbered(at)).unwrap();
        }
    }
    for node in &mut nodes {
        let mut next = BTreeMap::new();
        for _ in 0..COUNT * 6 {
            let frame = node.next_frame().await;
            let expected: &mut u32 = next.entry((frame.from, frame.class)).or_default();
            assert_eq!(number(&frame.payload), *expected);
            assert_eq!(u32::from(frame.kind), *expected % 256);
            *expected += 1;
        }
        assert_eq!(next.len(), 6);
    }
}

#[tokio::test]
async fn nodes_are_up_for_each_other_and_tell_what_they_have_to_tell() {
    let (mut a, mut b) = pair(|_| {}).await;
    a.recorder.pulse.lock().unwrap().payload = Bytes::from_static(b"led: 3");
    assert_eq!(b.until_up(A).await, 1);
    assert_eq!(a.until_up(B).await, 1);
    assert_eq!(a.peers.state(B), State::Up);
    b.until(|event| match event {
        Event::Heard(A, payload) if &payload[..] == b"led: 3" => Some(()),
        _ => None,
    })
    .await;
    a.recorder.pulse.lock().unwrap().payload = vec![0; (64 << 10) + 1].into();
    b.until(|event| match event {
        Event::Heard(A, payload) if payload.is_empty() => Some(()),
        _ => None,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_frames_of_several_parts_arrive_whole() {
    let (mut a, mut b) = pair(|_| {}).await;
    a.until_open(&[B]).await;
    let part = |size: usize, seed: usize| -> Bytes {
        (0..size).map(|at| ((at + seed) * 31 % 255) as u8).collect::<Vec<_>>().into()
    };
    let parts = [part(10, 1), part(16 << 20, 2), part(4096, 3), part(4097, 4)];
    for class in [Class::Data, Class::Bulk] {
        a.peers.send(B, class, 7, &parts).unwrap();
        a.peers.send(B, class, 8, &[]).unwrap();
    }
    for _ in 0..2 {
        let frame = b.next_frame().await;
        assert!(frame.kind == 8 || frame.payload == parts.concat(), "{:?}", frame.class);
    }
    for _ in 0..2 {
        b.next_frame().await;
    }
    assert_eq!(a.peers.queued(B, Class::Data), 0);
}

#[tokio::test]
async fn what_cannot_be_sent_is_said_at_once() {
    let (mut a, _b) = pair(|_| {}).await;
    a.until_open(&[B]).await;
    let send = |to, class, size| a.peers.send(to, class, 0, &[Bytes::from(vec![0; size])]);
    assert_eq!(send(B, Class::Control, (1 << 20) + 1), Err(Unsent::TooLarge));
    assert_eq!(send(B, Class::Control, 1 << 20), Ok(()));
    assert_eq!(send(B, Class::Data, (24 << 20) + 1), Err(Unsent::TooLarge));
    assert_eq!(send(C, Class::Data, 1), Err(Unsent::NotConnected));
    assert_eq!(a.peers.queued(C, Class::Data), 0);
}

const FRAME: usize = 64 << 10;

/// Sends until the queue is full.
async fn overflow(node: &Node) {
    let frame = [Bytes::from(vec![0; FRAME])];
    for _ in 0..4096 {
        match node.peers.send(B, Class::Data, 0, &frame) {
            Ok(()) => tokio::task::yield_now().await,
            Err(error) => return assert_eq!(error, Unsent::Overflow),
        }
    }
    panic!("256 MiB fit into the sockets");
}

#[tokio::test]
async fn who_does_not_let_go_is_not_read_and_who_sends_on_is_cut_off() {
    const HELD: usize = 256 << 10;
    const QUEUED: usize = 1 << 20;
    let limits = Limits { held: HELD, queued: QUEUED, ..Limits::default() };
    let (mut a, mut b) = pair(|plan| plan.limits = limits).await;
    a.until_open(&[B]).await;
    while a.peers.state(B) != State::Up {
        a.until(|event| matches!(event, Event::Heard(..)).then_some(())).await;
    }
    let mut held = Vec::new();
    // What one connection has brought counts against the next.
    for _ in 0..3 {
        overflow(&a).await;
        a.until_broken(B, Class::Data).await;
        let events = std::iter::from_fn(|| b.events.try_recv().ok());
        held.extend(events.filter(|event| matches!(event, Event::Received(_))));
        a.until_connected(B, Class::Data).await;
    }
    let octets = held.len() * FRAME;
    assert!(octets >= HELD, "{octets}");
    assert!(octets <= HELD + (192 << 10), "a read more than may be held: {octets}");
    assert_eq!(a.peers.state(B), State::Up, "the other classes are not disturbed");

    drop(held);
    a.peers.send(B, Class::Data, 9, &numbered(1)).unwrap();
    while b.next_frame().await.kind != 9 {}
}

#[tokio::test]
async fn what_was_held_and_let_go_makes_room() {
    let limits = Limits { held: 1000, ..Limits::default() };
    let (mut a, mut b) = pair(|plan| plan.limits = limits).await;
    a.until_open(&[B]).await;
    for _ in 0..1000 {
        a.peers.send(B, Class::Data, 0, &[Bytes::from(vec![0; 16 << 10])]).unwrap();
    }
    for _ in 0..1000 {
        b.next_frame().await;
    }
}
