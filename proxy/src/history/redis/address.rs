//! `history.redis_url` and `history.redis_prefix`: which Redis, or whom to ask for it, and what there is ours.

use std::fmt;

use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisError, TlsMode};

use super::names::Names;

/// What a Sentinel listens on if nothing else is said.
const SENTINEL_PORT: u16 = 26379;

/// Where Redis is if nothing else is said.
const LOCAL: &str = "redis://127.0.0.1:6379";

/// A server by its address, or by the name that Sentinels know the present master by.
#[derive(Clone)]
pub(crate) enum Address {
    /// `redis://127.0.0.1:6379`.
    Local,
    Server(Box<ConnectionInfo>),
    Sentinels(Sentinels),
}

/// `redis+sentinel://[user:password@]host[:port],…/master[/database]`; `rediss+sentinel:` is the same
/// with TLS to all of them. User and password are those of Redis, not of the Sentinels.
#[derive(Clone)]
pub(crate) struct Sentinels {
    hosts: Vec<(String, u16)>,
    master: String,
    database: i64,
    user: Option<String>,
    password: Option<String>,
    tls: bool,
}

/// Where a site's messages are.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Place {
    pub(crate) address: Address,
    pub(crate) names: Names,
}

impl Place {
    /// Whether the one may read or hear what is the other's.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        let (address, names) = (&self.address, &self.names);
        let same_database = address.database() == other.address.database();
        address.is_same_server(&other.address)
            && (names.share_channels(&other.names)
                || (same_database && names.share_keys(&other.names)))
    }
}

/// Not an address of Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoAddress;

/// All of it but user and password.
impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        self.is_same_server(other) && self.database() == other.database()
    }
}

impl Address {
    /// Reads a URL of one of the schemes `redis`, `rediss`, `redis+unix`, `unix`, `redis+sentinel` and
    /// `rediss+sentinel`.
    pub(crate) fn parse(url: &str) -> Result<Self, NoAddress> {
        let (scheme, rest) = url.split_once("://").ok_or(NoAddress)?;
        match scheme {
            "redis+sentinel" => Sentinels::parse(rest, false).map(Self::Sentinels),
            "rediss+sentinel" => Sentinels::parse(rest, true).map(Self::Sentinels),
            "redis" | "rediss" | "redis+unix" | "unix" => {
                let server = url.into_connection_info().map_err(|_| NoAddress)?;
                Ok(Self::Server(Box::new(server)))
            }
            _ => Err(NoAddress),
        }
    }

    /// As far as the addresses tell.
    fn is_same_server(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Sentinels(one), Self::Sentinels(other)) => {
                // Most masters have one and the same name.
                let shared = |host: &_| other.hosts.contains(host);
                one.master == other.master && one.hosts.iter().any(shared)
            }
            _ => self.to_string() == other.to_string(),
        }
    }

    /// The number of the database.
    pub(crate) fn database(&self) -> i64 {
        match self {
            Self::Local => 0,
            Self::Server(server) => server.redis_settings().db(),
            Self::Sentinels(sentinels) => sentinels.database,
        }
    }

    /// The server to connect to now.
    pub(super) async fn resolve(&self) -> Result<Client, RedisError> {
        match self {
            Self::Local => Client::open(LOCAL),
            Self::Server(server) => Client::open(server.as_ref().clone()),
            Self::Sentinels(sentinels) => sentinels.client()?.async_get_client().await,
        }
    }
}

impl Sentinels {
    fn parse(rest: &str, tls: bool) -> Result<Self, NoAddress> {
        let (credentials, rest) = match rest.rsplit_once('@') {
            Some((credentials, rest)) => (Some(credentials), rest),
            None => (None, rest),
        };
        let (user, password) = match credentials {
            Some(credentials) => {
                let (user, password) = credentials.split_once(':').ok_or(NoAddress)?;
                (unescaped(user)?, unescaped(password)?)
            }
            None => (None, None),
        };
        let mut parts = rest.split('/');
        let hosts = parts.next().unwrap_or_default().split(',').map(host);
        let hosts = hosts.collect::<Result<_, _>>()?;
        let master = parts.next().filter(|name| !name.is_empty());
        let database = match parts.next() {
            None | Some("") => 0,
            Some(number) => number.parse().map_err(|_| NoAddress)?,
        };
        if parts.next().is_some() || database < 0 {
            return Err(NoAddress);
        }
        Ok(Self {
            hosts,
            master: master.ok_or(NoAddress)?.to_owned(),
            database,
            user,
            password,
            tls,
        })
    }

    fn client(&self) -> Result<SentinelClient, RedisError> {
        let hosts = self.hosts.iter().map(|(host, port)| match self.tls {
            false => ConnectionAddr::Tcp(host.clone(), *port),
            true => ConnectionAddr::TcpTls {
                host: host.clone(),
                port: *port,
                insecure: false,
                tls_params: None,
            },
        });
        let mut builder =
            SentinelClientBuilder::new(hosts, &self.master, SentinelServerType::Master)?
                .set_client_to_redis_db(self.database);
        if let Some(user) = &self.user {
            builder = builder.set_client_to_redis_username(user);
        }
        if let Some(password) = &self.password {
            builder = builder.set_client_to_redis_password(password);
        }
        if self.tls {
            builder = builder
                .set_client_to_redis_tls_mode(TlsMode::Secure)
                .set_client_to_sentinel_tls_mode(TlsMode::Secure);
        }
        builder.build()
    }
}

/// Percent-encoding undone; nothing is `None`.
fn unescaped(text: &str) -> Result<Option<String>, NoAddress> {
    let text = percent_encoding::percent_decode_str(text)
        .decode_utf8()
        .map_err(|_| NoAddress)?;
    Ok((!text.is_empty()).then(|| text.into_owned()))
}

/// `host`, `host:port`, `[IPv6]` or `[IPv6]:port`.
fn host(text: &str) -> Result<(String, u16), NoAddress> {
    let (host, port) = match text.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once(']').ok_or(NoAddress)?,
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let port = match port.strip_prefix(':') {
        Some(port) => port.parse().map_err(|_| NoAddress)?,
        None if port.is_empty() => SENTINEL_PORT,
        None => return Err(NoAddress),
    };
    if host.is_empty() || host.contains(char::is_whitespace) {
        return Err(NoAddress);
    }
    Ok((host.to_owned(), port))
}

/// Without user and password: logs show it.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str(LOCAL.trim_start_matches("redis://")),
            Self::Server(server) => write!(f, "{}", server.addr()),
            Self::Sentinels(sentinels) => write!(f, "Sentinel's master {}", sentinels.master),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers() {
        for (url, shown) in [
            ("redis://127.0.0.1", "127.0.0.1:6379"),
            ("redis://user:hush@127.0.0.1:7000/3", "127.0.0.1:7000"),
            ("rediss://:hush@redis.example/1", "redis.example:6379"),
            ("redis+unix:///run/redis.sock?db=2", "/run/redis.sock"),
            ("unix:///run/redis.sock", "/run/redis.sock"),
        ] {
            let address = Address::parse(url).unwrap();
            assert_eq!(address.to_string(), shown);
            assert!(!format!("{address:?}").contains("hush"));
        }
    }

    #[test]
    fn sentinels() {
        let url = "rediss+sentinel://me:h%40sh@one:1,two,[::1],[::2]:5/mymaster/4";
        let Ok(Address::Sentinels(sentinels)) = Address::parse(url) else {
            panic!("no sentinels")
        };
        let hosts: Vec<(&str, u16)> = sentinels
            .hosts
            .iter()
            .map(|(host, port)| (host.as_str(), *port))
            .collect();
        let expected = [("one", 1), ("two", 26379), ("::1", 26379), ("::2", 5)];
        assert_eq!(hosts, expected);
        assert_eq!(sentinels.master, "mymaster");
        assert_eq!((sentinels.database, sentinels.tls), (4, true));
        assert_eq!(sentinels.user.as_deref(), Some("me"));
        assert_eq!(sentinels.password.as_deref(), Some("h@sh"));
        assert!(sentinels.client().is_ok());
    }

    #[test]
    fn neither() {
        for url in [
            "",
            "127.0.0.1:6379",
            "http://127.0.0.1:6379",
            "redis://",
            "redis://host/x",
            "redis+sentinel://host",
            "redis+sentinel://host/",
            "redis+sentinel://host:x/master",
            "redis+sentinel:///master",
            "redis+sentinel://host/master/x",
            "redis+sentinel://host/master/-1",
            "redis+sentinel://host/master/1/2",
        ] {
            assert_eq!(Address::parse(url).err(), Some(NoAddress), "{url}");
        }
    }
}
