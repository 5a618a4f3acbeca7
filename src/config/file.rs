//! Reads settings from a file of `key = value` lines, as `rabbitmq.conf` has them.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    ops::RangeBounds,
    path::{Path, PathBuf},
    str::FromStr,
};

use thiserror::Error;

use super::{
    AuthMechanism, Config, Limit, MANAGEMENT_PORT, cluster, limit, quota,
    tls::{self, Taken, TlsVersion},
};

/// Why a configuration file cannot be used.
#[derive(Debug, Error)]
pub enum FileError {
    #[error("cannot read the configuration file {}: {cause}", path.display())]
    Unreadable { path: PathBuf, cause: io::Error },
    #[error("{}:{line}: {fault}", path.display())]
    Line { path: PathBuf, line: usize, fault: LineFault },
}

/// What is wrong with one line.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LineFault {
    #[error("expected `key = value`, found `{0}`")]
    NotASetting(String),
    #[error("there is no setting `{0}`")]
    UnknownKey(String),
    #[error("`{value}` is no value for `{key}`: expected {expected}")]
    BadValue { key: String, value: String, expected: &'static str },
}

/// The largest body that any setting allows (RabbitMQ).
const LARGEST_BODY: u64 = 536_870_912;

/// Reads `path` over `config`: what the file does not name stays as it is.
///
/// # Errors
/// The first line that cannot be taken, with its number. `config` is then to be thrown away.
pub fn read(path: &Path, config: &mut Config) -> Result<(), FileError> {
    let text = fs::read_to_string(path)
        .map_err(|cause| FileError::Unreadable { path: path.to_owned(), cause })?;
    apply(&text, config).map_err(|(line, fault)| {
        let path = path.to_owned();
        FileError::Line { path, line, fault }
    })
}

/// Reads the text of a file over `config`.
///
/// # Errors
/// The first line that cannot be taken, with its number.
pub fn apply(text: &str, config: &mut Config) -> Result<(), (usize, LineFault)> {
    let mut together = Together::default();
    for (line, number) in text.lines().zip(1..) {
        let setting = without_comment(line);
        if !setting.is_empty() {
            take(setting, config, &mut together).map_err(|fault| (number, fault))?;
        }
    }
    if !together.listeners.is_empty() {
        config.listen = together.listeners;
    }
    if together.management_port.is_some() || together.management_address.is_some() {
        let port = together.management_port.unwrap_or(MANAGEMENT_PORT);
        let address = together.management_address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        config.management = vec![SocketAddr::new(address, port)];
    }
    if !together.tls_listeners.is_empty() {
        config.tls.listen = together.tls_listeners;
    }
    if !together.versions.is_empty() {
        config.tls.versions = together.versions;
    }
    if !together.mechanisms.is_empty() {
        config.mechanisms = together.mechanisms;
    }
    // Whatever their order, a share goes before octets (RabbitMQ).
    if let Some(share) = together.memory_share {
        config.memory_watermark = Limit::Relative(share);
    }
    if let Some(share) = together.disk_share {
        config.disk_free_limit = Limit::Relative(share);
    }
    Ok(())
}

/// Settings of which several lines make one.
#[derive(Default)]
struct Together {
    listeners: Vec<SocketAddr>,
    management_port: Option<u16>,
    management_address: Option<IpAddr>,
    tls_listeners: Vec<SocketAddr>,
    versions: Vec<TlsVersion>,
    mechanisms: Vec<AuthMechanism>,
    memory_share: Option<f64>,
    disk_share: Option<f64>,
}

fn take(setting: &str, config: &mut Config, together: &mut Together) -> Result<(), LineFault> {
    let Some((key, value)) = setting.split_once('=') else {
        return Err(LineFault::NotASetting(setting.to_owned()));
    };
    let (key, value) = (key.trim(), unquoted(value.trim()));
    let taken = if key.starts_with("listeners.tcp.") {
        address(value).map(|address| together.listeners.push(address))
    } else if key.starts_with("listeners.ssl.") {
        address(value).map(|address| together.tls_listeners.push(address))
    } else if key.starts_with("ssl_options.versions.") {
        tls::version(value).map(|version| together.versions.push(version))
    } else if key.starts_with("auth_mechanisms.") {
        mechanism(value).map(|mechanism| together.mechanisms.push(mechanism))
    } else if let Some(option) = key.strip_prefix("ssl_options.") {
        tls::set(&mut config.tls, option, value).map(|taken| match taken {
            Taken::Set => {}
            Taken::WithoutEffect => config.without_effect.push(key.to_owned()),
        })
    } else if is_of_cluster(key) {
        cluster::set(&mut config.cluster, key, value)
    } else if let Some(part) = key.strip_prefix("ssl_cert_login_") {
        tls::set_login(&mut config.tls.login, part, value)
    } else if let Some(user) = key.strip_prefix("loopback_users.") {
        restrict(config, user, value)
    } else if let Some(tag) = key.strip_prefix("default_user_tags.") {
        choose(&mut config.default_user_tags, tag, value)
    } else {
        match key {
            "management.tcp.port" | "management.listener.port" => {
                let port = number(value, 0..=u16::MAX, "a port");
                port.map(|port| together.management_port = Some(port))
            }
            "management.tcp.ip" | "management.listener.ip" => {
                let address = value.parse().map_err(|_| Refused::Value("an address"));
                address.map(|address| together.management_address = Some(address))
            }
            // RabbitMQ does not know the first of these; people write it all the same.
            "vm_memory_high_watermark" | "vm_memory_high_watermark.relative" => {
                share(value).map(|share| together.memory_share = Some(share))
            }
            "disk_free_limit.relative" => {
                share(value).map(|share| together.disk_share = Some(share))
            }
            _ => set(config, key, value),
        }
    };
    taken.map_err(|refused| match refused {
        Refused::Key => LineFault::UnknownKey(key.to_owned()),
        Refused::Value(expected) => {
            LineFault::BadValue { key: key.to_owned(), value: value.to_owned(), expected }
        }
    })
}

/// Why a setting is not taken.
pub(super) enum Refused {
    Key,
    /// Says what was expected.
    Value(&'static str),
}

fn set(config: &mut Config, key: &str, value: &str) -> Result<(), Refused> {
    match key {
        "listeners.tcp" if value == "none" => config.listen.clear(),
        "listeners.ssl" if value == "none" => config.tls.listen.clear(),
        "ssl_handshake_timeout" => {
            config.tls.handshake_timeout_ms = number(value, 1.., "milliseconds")?;
        }
        "num_acceptors.tcp" | "num_acceptors.ssl" => {
            number(value, 1..=u32::MAX, "a number")?;
            config.without_effect.push(key.to_owned());
        }
        "data_dir" => config.data_dir = Some(PathBuf::from(value)),
        "log.level" | "log.console.level" => value.clone_into(&mut config.log),
        "default_user" => value.clone_into(&mut config.default_user),
        "default_pass" => value.clone_into(&mut config.default_password),
        "default_vhost" => value.clone_into(&mut config.default_virtual_host),
        "default_permissions.configure" => value.clone_into(&mut config.default_permissions[0]),
        "default_permissions.write" => value.clone_into(&mut config.default_permissions[1]),
        "default_permissions.read" => value.clone_into(&mut config.default_permissions[2]),
        "management.tcp" | "management.listener" if value == "none" => config.management.clear(),
        "load_definitions" | "management.load_definitions" => {
            config.definitions.push(PathBuf::from(value));
        }
        "loopback_users" if value == "none" => config.loopback_users.clear(),
        "channel_max" => {
            config.channel_max = number(value, 0..=u16::MAX, "a number up to 65535")?;
        }
        "frame_max" => config.frame_max = number(value, 4096.., "octets, 4096 or more")?,
        "heartbeat" => config.heartbeat = number(value, 0..=u16::MAX, "seconds up to 65535")?,
        "handshake_timeout" => config.handshake_timeout_ms = number(value, 1.., "milliseconds")?,
        "max_message_size" => {
            config.max_message_size = number(value, 1..=LARGEST_BODY, "octets up to 536870912")?;
        }
        "vm_memory_high_watermark.absolute" => {
            config.memory_watermark = Limit::Absolute(octets(value)?);
        }
        "vm_memory_high_watermark_paging_ratio" => config.memory_paging_ratio = share(value)?,
        "memory_monitor_interval" => {
            config.memory_monitor_interval_ms = number(value, 1.., "milliseconds")?;
        }
        "disk_free_limit.absolute" => config.disk_free_limit = Limit::Absolute(octets(value)?),
        "product.name" => value.clone_into(&mut config.product),
        "product.version" => value.clone_into(&mut config.product_version),
        "nodename" => value.clone_into(&mut config.node_name),
        "cluster_name" => value.clone_into(&mut config.cluster_name),
        _ => quota::set(&mut config.quota, key, value)?,
    }
    Ok(())
}

fn is_of_cluster(key: &str) -> bool {
    key.starts_with("cluster_formation.")
        || key.starts_with("cluster.")
        || matches!(key, "cluster_partition_handling" | "net_ticktime")
}

/// Says whether a user may only connect from this machine.
fn restrict(config: &mut Config, user: &str, value: &str) -> Result<(), Refused> {
    choose(&mut config.loopback_users, user, value)
}

/// Says whether a word is one of those chosen.
fn choose(chosen: &mut Vec<String>, word: &str, value: &str) -> Result<(), Refused> {
    chosen.retain(|known| known != word);
    match value {
        "true" => chosen.push(word.to_owned()),
        "false" => {}
        _ => return Err(Refused::Value("true or false")),
    }
    Ok(())
}

fn mechanism(value: &str) -> Result<AuthMechanism, Refused> {
    match value {
        "PLAIN" => Ok(AuthMechanism::Plain),
        "AMQPLAIN" => Ok(AuthMechanism::AmqPlain),
        "ANONYMOUS" => Ok(AuthMechanism::Anonymous),
        "EXTERNAL" => Ok(AuthMechanism::External),
        _ => Err(Refused::Value("PLAIN, AMQPLAIN, EXTERNAL or ANONYMOUS")),
    }
}

pub(super) fn flag(value: &str) -> Result<bool, Refused> {
    value.parse().map_err(|_| Refused::Value("true or false"))
}

pub(super) fn number<T>(
    value: &str,
    range: impl RangeBounds<T>,
    expected: &'static str,
) -> Result<T, Refused>
where
    T: FromStr + PartialOrd,
{
    let number = value.parse().ok().filter(|number| range.contains(number));
    number.ok_or(Refused::Value(expected))
}

fn octets(value: &str) -> Result<u64, Refused> {
    limit::octets(value).ok_or(Refused::Value("octets, as in 1024, 50MB or 2GiB"))
}

fn share(value: &str) -> Result<f64, Refused> {
    number(value, 0.0..=f64::MAX, "a share, as in 0.4")
}

/// A port of all IPv4 interfaces, or `ADDRESS:PORT` with RabbitMQ's way of writing `:::5672`.
fn address(value: &str) -> Result<SocketAddr, Refused> {
    if let Ok(port) = value.parse() {
        return Ok(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port));
    }
    if let Ok(address) = value.parse() {
        return Ok(address);
    }
    let parts = value.rsplit_once(':').and_then(|(address, port)| {
        let address: Ipv6Addr = address.parse().ok()?;
        Some(SocketAddr::new(address.into(), port.parse().ok()?))
    });
    parts.ok_or(Refused::Value("a port or ADDRESS:PORT"))
}

fn without_comment(line: &str) -> &str {
    let line = line.trim();
    if line.starts_with('#') { "" } else { line.split(" #").next().unwrap_or(line).trim_end() }
}

fn unquoted(value: &str) -> &str {
    value
        .strip_prefix('\'')
        .and_then(|value| value.strip_suffix('\''))
        .or_else(|| value.strip_prefix('"').and_then(|value| value.strip_suffix('"')))
        .unwrap_or(value)
}

#[cfg(test)]
pub(super) fn applied(text: &str) -> Result<Config, String> {
    let mut config = Config::default();
    let applied = apply(text, &mut config);
    applied.map(|()| config).map_err(|(line, fault)| format!("{line}: {fault}"))
}

#[cfg(test)]
mod tests {
    use super::{applied as check, *};

    #[test]
    fn settings_are_read_and_the_rest_stays() {
        let config =
            check("# a comment\nheartbeat = 30\nlisteners.tcp.1 = 127.0.0.1:5673\n").unwrap();
        assert_eq!(config.heartbeat, 30);
        assert_eq!(config.listen, ["127.0.0.1:5673".parse().unwrap()]);
        assert_eq!(config.frame_max, 131_072);
    }

    #[test]
    fn rabbitmqs_way_of_writing_an_address_is_understood() {
        let config = check("listeners.tcp.default = :::5672\nlisteners.tcp.2 = 5680\n").unwrap();
        assert_eq!(config.listen, ["[::]:5672".parse().unwrap(), "0.0.0.0:5680".parse().unwrap()]);
    }

    #[test]
    fn loopback_users_are_added_and_removed() {
        let config = check("loopback_users.guest = false\nloopback_users.anna.b = true\n").unwrap();
        assert_eq!(config.loopback_users, ["anna.b"]);
        assert!(check("loopback_users = none").unwrap().loopback_users.is_empty());
    }

    #[test]
    fn limits_are_octets_or_shares_and_shares_go_first() {
        let config = check("vm_memory_high_watermark.absolute = 2GiB\n").unwrap();
        assert_eq!(config.memory_watermark, Limit::Absolute(2 << 30));
        assert_eq!(config.disk_free_limit, Limit::Absolute(50_000_000));
        let config =
            check("disk_free_limit.relative = 1.5\ndisk_free_limit.absolute = 1GB\n").unwrap();
        assert_eq!(config.disk_free_limit, Limit::Relative(1.5));
        let config = check("vm_memory_high_watermark = 0.6").unwrap();
        assert_eq!(config.memory_watermark, Limit::Relative(0.6));
    }

    #[test]
    fn management_listens_where_it_is_told_to() {
        let at = |text: &str| check(text).unwrap().management;
        assert_eq!(at("management.tcp.port = 80"), ["0.0.0.0:80".parse().unwrap()]);
        assert_eq!(at("management.tcp.ip = ::1"), ["[::1]:15672".parse().unwrap()]);
        let both = "management.listener.ip = 127.0.0.1\nmanagement.listener.port = 0";
        assert_eq!(at(both), ["127.0.0.1:0".parse().unwrap()]);
        let mut config = Config { management: Config::usual_management(), ..Config::default() };
        apply("management.tcp = none", &mut config).unwrap();
        assert_eq!(config.management, []);
    }

    #[test]
    fn the_first_user_and_definitions_are_as_they_are_written() {
        let config = check(
            "default_user_tags.administrator = false\ndefault_user_tags.monitoring = true\n\
             default_permissions.write = ^a\nload_definitions = a.json\n\
             management.load_definitions = b\n",
        )
        .unwrap();
        assert_eq!(config.default_user_tags, ["monitoring"]);
        assert_eq!(config.default_permissions, [".*", "^a", ".*"]);
        assert_eq!(config.definitions, [PathBuf::from("a.json"), PathBuf::from("b")]);
    }

    #[test]
    fn mechanisms_are_offered_as_they_are_listed() {
        let config = check("auth_mechanisms.1 = EXTERNAL\nauth_mechanisms.2 = PLAIN\n").unwrap();
        assert_eq!(config.mechanisms, [AuthMechanism::External, AuthMechanism::Plain]);
    }

    #[test]
    fn a_fault_is_named_with_its_line() {
        let bad = |key: &str, value: &str, expected: &str| {
            let text = check(&format!("\n{key} = {value}")).unwrap_err();
            assert_eq!(text, format!("2: `{value}` is no value for `{key}`: expected {expected}"));
        };
        bad("frame_max", "12", "octets, 4096 or more");
        bad("max_message_size", "536870913", "octets up to 536870912");
        bad("listeners.tcp.1", "nowhere", "a port or ADDRESS:PORT");
        bad("loopback_users.guest", "no", "true or false");
        bad("disk_free_limit.absolute", "50 MB", "octets, as in 1024, 50MB or 2GiB");
        bad("disk_free_limit.relative", "-1", "a share, as in 0.4");
        bad("vm_memory_high_watermark.relative", "inf", "a share, as in 0.4");
        bad("auth_mechanisms.1", "GSSAPI", "PLAIN, AMQPLAIN, EXTERNAL or ANONYMOUS");
        let unknown = check("listeners.stomp.default = 61613").unwrap_err();
        assert_eq!(unknown, "1: there is no setting `listeners.stomp.default`");
        let nonsense = check("heartbeat = 1\nnonsense").unwrap_err();
        assert_eq!(nonsense, "2: expected `key = value`, found `nonsense`");
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = read(Path::new("/no/such.conf"), &mut Config::default()).unwrap_err();
        assert!(error.to_string().starts_with("cannot read the configuration file /no/such.conf"));
    }
}
