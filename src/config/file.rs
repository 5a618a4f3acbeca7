//! Reads settings from a file of `key = value` lines, as `rabbitmq.conf` has them.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    str::FromStr,
};

use thiserror::Error;

use super::Config;

/// Why a configuration file cannot be used.
#[derive(Debug, Error)]
pub enum FileError {
    #[error("cannot read the configuration file {}: {cause}", path.display())]
    Unreadable { path: PathBuf, cause: io::Error },
    #[error("{}:{line}: expected `key = value`, found `{text}`", path.display())]
    NotASetting { path: PathBuf, line: usize, text: String },
    #[error("{}:{line}: there is no setting `{key}`", path.display())]
    UnknownKey { path: PathBuf, line: usize, key: String },
    #[error("{}:{line}: `{value}` is no value for `{key}`: expected {expected}", path.display())]
    BadValue { path: PathBuf, line: usize, key: String, value: String, expected: &'static str },
}

/// Reads `path` over `config`: what the file does not name stays as it is.
///
/// # Errors
/// The first line that cannot be taken, with its number. `config` is then to be thrown away.
pub fn read(path: &Path, config: &mut Config) -> Result<(), FileError> {
    let text = fs::read_to_string(path)
        .map_err(|cause| FileError::Unreadable { path: path.to_owned(), cause })?;
    let mut listeners = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let (path, line) = (path.to_owned(), (index + 1, line));
        let setting = without_comment(line.1);
        if setting.is_empty() {
            continue;
        }
        let Some((key, value)) = setting.split_once('=') else {
            return Err(FileError::NotASetting { path, line: line.0, text: setting.to_owned() });
        };
        let (key, value) = (key.trim(), unquoted(value.trim()));
        set(config, &mut listeners, key, value).map_err(|fault| match fault {
            Fault::UnknownKey => FileError::UnknownKey { path, line: line.0, key: key.to_owned() },
            Fault::BadValue(expected) => FileError::BadValue {
                path,
                line: line.0,
                key: key.to_owned(),
                value: value.to_owned(),
                expected,
            },
        })?;
    }
    if !listeners.is_empty() {
        config.listen = listeners;
    }
    Ok(())
}

enum Fault {
    UnknownKey,
    BadValue(&'static str),
}

fn set(
    config: &mut Config,
    listeners: &mut Vec<SocketAddr>,
    key: &str,
    value: &str,
) -> Result<(), Fault> {
    match key {
        "listeners.tcp" if value == "none" => config.listen.clear(),
        "data_dir" => config.data_dir = Some(PathBuf::from(value)),
        "log.level" | "log.console.level" => value.clone_into(&mut config.log),
        "default_user" => value.clone_into(&mut config.default_user),
        "default_pass" => value.clone_into(&mut config.default_password),
        "default_vhost" => value.clone_into(&mut config.default_virtual_host),
        "loopback_users" if value == "none" => config.loopback_users.clear(),
        "channel_max" => config.channel_max = number(value, 0, "a number up to 65535")?,
        "frame_max" => config.frame_max = number(value, 4096, "octets, 4096 or more")?,
        "heartbeat" => config.heartbeat = number(value, 0, "seconds up to 65535")?,
        "handshake_timeout" => config.handshake_timeout_ms = number(value, 1, "milliseconds")?,
        "max_message_size" => {
            config.max_message_size = number(value, 1, "octets up to 536870912")?;
            if config.max_message_size > 536_870_912 {
                return Err(Fault::BadValue("octets up to 536870912"));
            }
        }
        "product.name" => value.clone_into(&mut config.product),
        "product.version" => value.clone_into(&mut config.product_version),
        "cluster_name" => value.clone_into(&mut config.cluster_name),
        _ => return set_family(config, listeners, key, value),
    }
    Ok(())
}

/// The settings whose key ends in a name of the operator's choice.
fn set_family(
    config: &mut Config,
    listeners: &mut Vec<SocketAddr>,
    key: &str,
    value: &str,
) -> Result<(), Fault> {
    if key.starts_with("listeners.tcp.") {
        listeners.extend(addresses(value)?);
        return Ok(());
    }
    let Some(user) = key.strip_prefix("loopback_users.") else { return Err(Fault::UnknownKey) };
    config.loopback_users.retain(|known| known != user);
    match value {
        "true" => config.loopback_users.push(user.to_owned()),
        "false" => {}
        _ => return Err(Fault::BadValue("true or false")),
    }
    Ok(())
}

fn number<T>(value: &str, least: T, expected: &'static str) -> Result<T, Fault>
where
    T: FromStr + PartialOrd,
{
    value.parse().ok().filter(|number| *number >= least).ok_or(Fault::BadValue(expected))
}

/// A port of all interfaces, or `ADDRESS:PORT` with RabbitMQ's way of writing `:::5672`.
fn addresses(value: &str) -> Result<Vec<SocketAddr>, Fault> {
    if let Ok(port) = value.parse::<u16>() {
        // One socket for both families would depend on the system's settings; two do not.
        let every = [IpAddr::V4(Ipv4Addr::UNSPECIFIED)];
        return Ok(every.map(|address| SocketAddr::new(address, port)).to_vec());
    }
    if let Ok(address) = value.parse() {
        return Ok(vec![address]);
    }
    let (address, port) =
        value.rsplit_once(':').ok_or(Fault::BadValue("a port or ADDRESS:PORT"))?;
    match (address.parse::<Ipv6Addr>(), port.parse()) {
        (Ok(address), Ok(port)) => Ok(vec![SocketAddr::new(address.into(), port)]),
        _ => Err(Fault::BadValue("a port or ADDRESS:PORT")),
    }
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
mod tests {
    use super::*;

    fn check(text: &str) -> Result<Config, String> {
        let folder = std::env::temp_dir().join(format!("leveret-config-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let name = format!("{:?}.conf", std::thread::current().id());
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        let mut config = Config::default();
        let result = read(&path, &mut config);
        fs::remove_file(&path).unwrap();
        result.map(|()| config).map_err(|error| error.to_string())
    }

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
        let config = check("loopback_users.guest = false\nloopback_users.anna = true\n").unwrap();
        assert_eq!(config.loopback_users, ["anna"]);
        assert!(check("loopback_users = none").unwrap().loopback_users.is_empty());
    }

    #[test]
    fn a_fault_is_named_with_its_line() {
        assert!(
            check("heartbeat = 1\nnonsense").unwrap_err().contains(":2: expected `key = value`")
        );
        assert!(check("colour = red").unwrap_err().contains(":1: there is no setting `colour`"));
        assert!(check("frame_max = 12").unwrap_err().contains("expected octets, 4096 or more"));
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = read(Path::new("/no/such.conf"), &mut Config::default()).unwrap_err();
        assert!(error.to_string().starts_with("cannot read the configuration file /no/such.conf"));
    }
}
