//! From a URL to what is asked for, of which server, and the name that its file gets. The crate `url` reads URLs, and
//! resolves where a redirect leads (RFC 3986, section 5): the libraries of the four ways follow none.

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use url::{ParseError, Position, Url};

/// Which server, and what it is asked for.
#[derive(Clone)]
pub struct Target {
    url: Url,
}

impl Target {
    /// Of a URL that a person has written.
    pub fn of(text: &str) -> Result<Target, String> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
        if scheme.is_empty() {
            return Err(format!(
                "not an http or https URL: it begins with neither; write http://{text}"
            ));
        }
        if rest.is_empty() || rest.starts_with(['/', '\\', '?', '#']) {
            return Err("no host in the URL".into());
        }
        Target::checked(Url::parse(text))
    }

    fn checked(url: Result<Url, ParseError>) -> Result<Target, String> {
        let mut url = url.map_err(|e| format!("not a URL: {e}"))?;
        url.set_fragment(None);
        match url.scheme() {
            "http" | "https" if url.username().is_empty() && url.password().is_none() => {
                Ok(Target { url })
            }
            "http" | "https" => Err("a user name in the URL, which is not supported".into()),
            other => Err(format!("not an http or https URL, but one of {other}")),
        }
    }

    /// Where the bytes of a `Location` lead. What is no ASCII there goes into the URL byte by byte, as `%XX`.
    pub fn redirected(&self, location: &[u8]) -> Result<Target, String> {
        let ascii = |byte: &u8| match byte.is_ascii() {
            true => char::from(*byte).to_string(),
            false => percent_encode(&[*byte], NON_ALPHANUMERIC).to_string(),
        };
        let location: String = location.iter().map(ascii).collect();
        let joined = self.url.join(location.trim());
        Target::checked(joined).map_err(|why| format!("redirected to {location}: {why}"))
    }

    pub fn https(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// A name or an address; an IPv6 address without the brackets that it has in a URL.
    pub fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default().trim_matches(['[', ']'])
    }

    /// The host and the port to connect to.
    pub fn address(&self) -> (&str, u16) {
        (self.host(), self.url.port_or_known_default().expect("http and https have one"))
    }

    /// What the `Host` header says.
    pub fn authority(&self) -> &str {
        &self.url[Position::BeforeHost..Position::AfterPort]
    }

    /// The scheme and the authority: a connection serves no other.
    pub fn origin(&self) -> &str {
        &self.url[..Position::AfterPort]
    }

    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// The last part of the path, decoded: a name for a file that stays in its directory.
    pub fn file_name(&self) -> Result<String, String> {
        let last = self.url.path().rsplit('/').next().unwrap_or_default();
        let name = percent_decode_str(last).decode_utf8();
        let name = name.map_err(|_| format!("the file name {last} in the URL is not UTF-8"))?;
        match &*name {
            "" => Err("no file name in the URL: nothing follows the host or the last slash".into()),
            "." | ".." => Err(format!("no file name in the URL: {name:?} is a directory")),
            _ if name.contains(['/', '\\']) => {
                Err(format!("the file name {name:?} in the URL would leave the directory"))
            }
            _ if name.contains(char::is_control) => {
                Err(format!("the file name {name:?} in the URL has control characters"))
            }
            _ => Ok(name.into()),
        }
    }
}
