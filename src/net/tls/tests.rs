//! What TLS does with files, good and bad, and what it reads from certificates.

use std::{
    env, fs,
    path::PathBuf,
    process,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::{
    RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, UnixTime, pem::PemObject},
};

use super::{Authority, Identity, Lifetime, PeerCertificate, Tls, files::Stamps, verifier};
use crate::config::{self, AlternativeName, CertificateLogin, LoginFrom, NamedCertificate};

/// Made by OpenSSL; the expectations are what RabbitMQ 3.10 says of them.
const MANY_PARTS: &str = include_str!("tests/many_parts.pem");
const FOREIGN_LETTERS: &str = include_str!("tests/foreign_letters.pem");
const SEVERAL_IN_ONE: &str = include_str!("tests/several_in_one.pem");

fn read(pem: &str, login: CertificateLogin) -> PeerCertificate {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    PeerCertificate::read(&der, &login).unwrap()
}

fn login(pem: &str, from: LoginFrom, kind: AlternativeName, index: usize) -> Option<String> {
    let login = read(pem, CertificateLogin { from, kind, index }).login;
    login.map(|name| String::from_utf8(name).unwrap())
}

#[test]
fn a_certificate_is_described_in_the_words_of_rabbitmq() {
    let subject = |pem| read(pem, CertificateLogin::default()).subject;
    let expected = "2.5.4.9=Road 1,UID=joe,TITLE=\\#Boss,DC=example,SERIALNUMBER=77,\
                    EMAILADDRESS=a@b.example,CN=client,OU=Unit,O=Test Org,ST=Sto\\,ck,C=SE";
    assert_eq!(subject(MANY_PARTS), expected);
    let expected = "CN=second,O=test\\ ,CN=zo\\C3\\AB \\C4\\BA";
    assert_eq!(subject(FOREIGN_LETTERS), expected);
    let expected = "2.5.4.17=1234,2.5.4.15=bus,GENERATIONQUALIFIER=III,2.5.4.46=Q,2.5.4.41=N,\
                    PSEUDONYM=P,INITIALS=I,SN=Sur,GIVENNAME=Given,CN=a+O=b";
    assert_eq!(subject(SEVERAL_IN_ONE), expected);
    let certificate = read(MANY_PARTS, CertificateLogin::default());
    assert_eq!(certificate.issuer, "O=leveret,CN=Test CA");
    assert_eq!(certificate.validity, "2026-11-21T19:15:59Z - 2026-12-21T19:15:59Z");
}

#[test]
fn the_user_is_the_part_of_the_certificate_that_is_chosen() {
    let common = |pem| login(pem, LoginFrom::CommonName, AlternativeName::Dns, 0);
    assert_eq!(common(MANY_PARTS).as_deref(), Some("client"));
    assert_eq!(common(FOREIGN_LETTERS).as_deref(), Some("zo\u{eb} \u{13a},second"));
    let whole = login(SEVERAL_IN_ONE, LoginFrom::DistinguishedName, AlternativeName::Dns, 0);
    assert!(whole.unwrap().ends_with("CN=a+O=b"));
    let check = |kind, index, expected: Option<&str>| {
        let found = login(MANY_PARTS, LoginFrom::AlternativeName, kind, index);
        assert_eq!(found.as_deref(), expected, "{kind:?} {index}");
    };
    check(AlternativeName::Dns, 0, Some("one.example"));
    check(AlternativeName::Dns, 1, Some("two.example"));
    check(AlternativeName::Dns, 2, None);
    check(AlternativeName::Ip, 0, Some("10.0.0.7"));
    check(AlternativeName::Ip, 1, Some("fe80::1"));
    check(AlternativeName::Email, 0, Some("a@b.example"));
    check(AlternativeName::Uri, 0, Some("urn:x:y"));
    check(AlternativeName::Other, 0, Some("joe"));
    check(AlternativeName::Other, 1, None);
    let none = login(FOREIGN_LETTERS, LoginFrom::AlternativeName, AlternativeName::Dns, 0);
    assert_eq!(none, None);
}

/// A directory of certificates, gone with its owner.
struct Files {
    directory: PathBuf,
    settings: config::Tls,
}

impl Files {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let directory = env::temp_dir().join(format!("leveret-tls-{}-{number}", process::id()));
        fs::create_dir_all(&directory).unwrap();
        let place = |name| Some(directory.join(name));
        let (authorities, certificate, key) = (place("ca"), place("certificate"), place("key"));
        let settings = config::Tls { authorities, certificate, key, ..config::Tls::default() };
        let files = Self { directory, settings };
        files.issue(Lifetime::days(2));
        files
    }

    fn issue(&self, lifetime: Lifetime) {
        let authority = Authority::new(lifetime).unwrap();
        let pair = authority.issue(Identity::Server(&["localhost".to_owned()]), lifetime).unwrap();
        self.write("ca", &authority.pair().certificate);
        self.write("certificate", &pair.certificate);
        self.write("key", &pair.key);
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.directory.join(name), text).unwrap();
    }

    /// What a start with these files says, with the directory's name left out.
    fn refusal(&self) -> String {
        let refusal = Tls::new(self.settings.clone()).unwrap_err().to_string();
        refusal.replace(&format!("{}/", self.directory.display()), "")
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _it_is_a_temporary_directory = fs::remove_dir_all(&self.directory);
    }
}

#[test]
fn good_files_are_taken_with_and_without_clients_certificates() {
    let mut files = Files::new();
    Tls::new(files.settings.clone()).unwrap();
    files.settings.verify_peer = true;
    Tls::new(files.settings.clone()).unwrap();
    files.settings.require_certificate = true;
    Tls::new(files.settings.clone()).unwrap();
}

#[test]
fn a_file_that_is_missing_is_named_with_its_setting() {
    let files = Files::new();
    fs::remove_file(files.directory.join("key")).unwrap();
    let expected = "cannot read key (`ssl_options.keyfile`): No such file or directory";
    assert!(files.refusal().starts_with(expected), "{}", files.refusal());
}

#[test]
fn a_file_that_holds_something_else_is_named() {
    let files = Files::new();
    files.write("certificate", "nothing of interest");
    assert_eq!(files.refusal(), "there is no certificate in certificate (`ssl_options.certfile`)");
    let files = Files::new();
    files.write("key", "nothing of interest");
    assert_eq!(files.refusal(), "there is no private key in key (`ssl_options.keyfile`)");
    let files = Files::new();
    files.write("ca", "");
    assert_eq!(files.refusal(), "there is no certificate in ca (`ssl_options.cacertfile`)");
    let files = Files::new();
    files.write("certificate", "-----BEGIN CERTIFICATE-----\n####\n-----END CERTIFICATE-----\n");
    assert!(files.refusal().starts_with("cannot use certificate (`ssl_options.certfile`): "));
}

#[test]
fn a_key_that_belongs_to_another_certificate_is_found_out() {
    let (files, other) = (Files::new(), Files::new());
    fs::copy(other.directory.join("key"), files.directory.join("key")).unwrap();
    let expected =
        "the key in key (`ssl_options.keyfile`) is not the key of the certificate in certificate";
    assert_eq!(files.refusal(), expected);
}

#[test]
fn an_encrypted_key_is_refused_with_what_to_do() {
    let expected = "the key in key (`ssl_options.keyfile`) is encrypted, and only keys that are \
                    not can be read: `openssl pkey -in FILE -out FILE` decrypts it";
    let files = Files::new();
    let label = "ENCRYPTED PRIVATE KEY";
    files.write("key", &format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n"));
    assert_eq!(files.refusal(), expected);
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let mut files = Files::new();
    files.settings.require_certificate = true;
    let expected =
        "`ssl_options.fail_if_no_peer_cert = true` needs `ssl_options.verify = verify_peer`";
    assert_eq!(files.refusal(), expected);
    files.settings.verify_peer = true;
    files.settings.authorities = None;
    let expected = "`ssl_options.cacertfile` is not set, and `verify_peer` needs it";
    assert_eq!(files.refusal(), expected);
    files.settings.certificate = None;
    let expected = "`ssl_options.certfile` is not set, and a listener of TLS needs it";
    assert_eq!(files.refusal(), expected);
}

#[test]
fn a_certificate_for_another_name_must_be_whole() {
    let mut files = Files::new();
    let whole = NamedCertificate {
        setting: "ssl_options.sni.1".to_owned(),
        host: "b.example".to_owned(),
        certificate: files.directory.join("certificate"),
        key: files.directory.join("key"),
    };
    files.settings.named = vec![whole.clone()];
    Tls::new(files.settings.clone()).unwrap();
    files.settings.named = vec![NamedCertificate { key: PathBuf::new(), ..whole }];
    let expected = "`ssl_options.sni.1.keyfile` is not set, and the certificate of a host needs it";
    assert_eq!(files.refusal(), expected);
}

#[test]
fn a_server_certificate_that_has_expired_is_served_all_the_same() {
    let files = Files::new();
    let now = std::time::SystemTime::now();
    let hours = |hours: u64| std::time::Duration::from_secs(hours * 3600);
    files.issue(Lifetime { from: now - hours(9), until: now - hours(1) });
    Tls::new(files.settings.clone()).unwrap();
}

#[test]
fn a_chain_is_as_long_as_the_depth_allows() {
    let key = || KeyPair::generate().unwrap();
    let authority = |name| {
        let mut wanted = CertificateParams::default();
        wanted.distinguished_name.push(DnType::OrganizationName, name);
        wanted.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        wanted
    };
    let root = CertifiedIssuer::self_signed(authority("root"), key()).unwrap();
    let middle = CertifiedIssuer::signed_by(authority("middle"), key(), &root).unwrap();
    let client = CertificateParams::default().signed_by(&key(), &middle).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(root.der().clone()).unwrap();
    let check = |depth, is_good: bool| {
        let settings = config::Tls { verify_peer: true, depth, ..config::Tls::default() };
        let provider = Arc::new(ring::default_provider());
        let verifier = verifier::make(roots.clone(), &provider, &settings).unwrap();
        let sent = [middle.der().clone()];
        let judged = verifier.verify_client_cert(client.der(), &sent, UnixTime::now());
        assert_eq!(judged.is_ok(), is_good, "{depth}: {judged:?}");
    };
    check(0, false);
    check(1, true);
    check(10, true);
}

#[test]
fn bad_files_leave_the_old_certificates_in_place() {
    let files = Files::new();
    let tls = Tls::new(files.settings.clone()).unwrap();
    let served = || tls.read(|current| Arc::as_ptr(&current.configuration));
    let first = served();
    tls.reload_if_changed();
    assert_eq!(served(), first, "nothing has changed");
    files.write("certificate", "half a certif");
    let before = Stamps::of(&files.settings);
    tls.reload().unwrap_err();
    assert_eq!(served(), first);
    assert!(tls.read(|current| current.stamps == before), "it is not tried again in vain");
    files.issue(Lifetime::days(3));
    tls.reload_if_changed();
    assert_ne!(served(), first);
}
