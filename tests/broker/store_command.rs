//! `leveret store` as an operator meets it, on directories that are whole, damaged, missing, empty
//! or in use.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use leveret::{
    model::{Batch, Position, PositionRange, QueueId},
    store::{Options, Store, disk::file::Folder},
};

use crate::process::{Process, check_refused, run};

/// A directory of its own, gone when the test is over.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("leveret-store-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _it_is_seldom_there = fs::remove_dir_all(&path);
        Self(path)
    }

    /// With a store of three messages in two queues, one of them settled, and two facts.
    fn with_store() -> Self {
        let scratch = Self::new();
        let store = scratch.open();
        let enqueue = |queues: &[u64], position| {
            let targets: Vec<_> =
                queues.iter().map(|queue| (QueueId(*queue), Position(position))).collect();
            commit(&store, |batch| batch.enqueue(&targets, &[&[b'm'; 100]]));
        };
        enqueue(&[1, 2], 0);
        enqueue(&[1], 1);
        commit(&store, |batch| {
            batch.settle(QueueId(1), &[PositionRange::new(0, 0)]);
            batch.put(b"one", b"1");
            batch.put(b"two", b"2");
        });
        scratch
    }

    fn open(&self) -> Store {
        let folder = Folder::create(&self.0).unwrap();
        Store::open(Arc::new(folder), Options::default()).unwrap().0
    }

    fn flip(&self, name: &str, offset: usize) {
        let mut octets = fs::read(self.0.join(name)).unwrap();
        octets[offset] ^= 1;
        fs::write(self.0.join(name), octets).unwrap();
    }

    /// Every file with its octets.
    fn contents(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let entries = fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().path());
        entries.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _it_may_not_be_there = fs::remove_dir_all(&self.0);
    }
}

fn commit(store: &Store, fill: impl FnOnce(&mut Batch)) {
    let mut batch = Batch::default();
    fill(&mut batch);
    store.append(&mut batch).unwrap();
    while store.commit().unwrap().is_some() {}
}

const JOURNAL: &str = "journal-0000000000000001";
/// Within the second chunk, which begins in the third block: inside its record's payload.
const SECOND_CHUNK: usize = 2 * 4096 + 60;

/// What `leveret store` says of a directory, and whether it finds it whole.
fn look(command: &str, directory: &Path) -> (String, String, bool) {
    let output = run(&["store", command, &directory.display().to_string()]);
    let text = |octets| String::from_utf8(octets).unwrap();
    (text(output.stdout), text(output.stderr), output.status.success())
}

#[test]
fn a_whole_store_is_described_and_left_as_it_is() {
    let scratch = Scratch::with_store();
    let before = scratch.contents();
    for command in ["stat", "verify"] {
        let (said, complaint, is_whole) = look(command, &scratch.0);
        assert!(is_whole, "{complaint}");
        assert_eq!(said.lines().next().unwrap(), format!("store in {}", scratch.0.display()));
        for line in [
            "journal   1 file(s), 16384 octets, 3 records",
            "segments  0 file(s), 0 octets, 0 messages",
            "messages  2 in 2 queue(s)",
            "facts     2",
            "torn end  none",
            "damage    none found",
        ] {
            assert!(
                said.lines().any(|said| said == line),
                "{command} does not say {line}:\n{said}"
            );
        }
    }
    assert!(scratch.contents() == before, "looking has changed something");
}

#[test]
fn a_copy_without_its_lock_is_left_as_it_is() {
    let scratch = Scratch::with_store();
    fs::remove_file(scratch.0.join("lock")).unwrap();
    assert!(look("verify", &scratch.0).2);
    assert!(!scratch.0.join("lock").exists());
}

#[test]
fn damage_is_named_with_its_file_and_offset() {
    let scratch = Scratch::with_store();
    scratch.flip(JOURNAL, SECOND_CHUNK);
    let before = scratch.contents();
    let damage =
        format!("{JOURNAL} is damaged at octet 8192: a record does not match its checksum");
    let (said, complaint, is_whole) = look("verify", &scratch.0);
    assert!(!is_whole);
    assert!(said.contains(&format!("damage    {damage}")), "{said}");
    assert!(complaint.contains("is damaged in 1 place(s)"), "{complaint}");
    let (_, complaint, is_whole) = look("stat", &scratch.0);
    assert!(!is_whole && complaint.contains(&damage), "{complaint}");
    assert!(scratch.contents() == before, "looking has changed something");
}

#[test]
fn a_torn_end_is_no_damage() {
    let scratch = Scratch::with_store();
    scratch.flip(JOURNAL, SECOND_CHUNK + 4096);
    let (said, complaint, is_whole) = look("verify", &scratch.0);
    assert!(is_whole, "{complaint}");
    let torn = format!("torn end  {JOURNAL} was cut at octet 12288, behind its last whole record");
    assert!(said.contains(&torn), "{said}");
}

#[test]
fn a_directory_without_a_store_is_not_made_into_one() {
    let scratch = Scratch::new();
    let shown = scratch.0.display().to_string();
    for command in ["stat", "verify"] {
        check_refused(&["store", command, &shown], &format!("leveret: cannot open {shown}: "));
        assert!(!scratch.0.exists());
    }
    fs::create_dir(&scratch.0).unwrap();
    check_refused(&["store", "stat", &shown], &format!("leveret: there is no store in {shown}"));
    assert!(scratch.contents().is_empty());
}

#[test]
fn a_directory_in_use_is_not_looked_at() {
    let scratch = Scratch::with_store();
    let _in_use = scratch.open();
    let shown = scratch.0.display().to_string();
    check_refused(
        &["store", "verify", &shown],
        &format!("leveret: a broker is using {shown}: stop it first, or look at a copy"),
    );
}

#[test]
fn the_first_line_says_where_data_is_kept() {
    let scratch = Scratch::new();
    let shown = scratch.0.display().to_string();
    let kept = Process::start(&["--listen", "127.0.0.1:0", "--data-dir", &shown]);
    assert!(kept.line().ends_with(&format!("; data in {shown}")));
    let ephemeral = Process::start(&["--listen", "127.0.0.1:0", "--ephemeral"]);
    assert!(ephemeral.line().ends_with("; ephemeral"));
}

#[test]
fn a_directory_is_found_by_the_environment() {
    let scratch = Scratch::new();
    let mut command = crate::process::leveret(&["--listen", "127.0.0.1:0"]);
    let process = Process::spawn(command.env("LEVERET_DATA_DIR", &scratch.0));
    assert!(process.line().ends_with(&format!("; data in {}", scratch.0.display())));
    assert!(scratch.0.is_dir());
}
