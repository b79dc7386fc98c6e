//! From a URL to what is asked for, of whom, and the name that its file gets.

use hyper::Uri;

/// Whom to ask, and for what.
#[derive(Clone)]
pub struct Target {
    pub https: bool,
    /// A name or an address; an IPv6 address without the brackets that it has in a URL.
    pub host: String,
    pub port: u16,
    /// What the `Host` header says.
    pub authority: String,
    /// What is asked for: the path and the query.
    pub path: String,
}

impl Target {
    pub fn of(url: &str) -> Result<Target, String> {
        let uri: Uri = url.parse().map_err(|e| match url.contains(' ') {
            true => "not a URL: it has a blank, which is written %20".to_owned(),
            false => format!("not a URL: {e}"),
        })?;
        let https = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            Some(other) => return Err(format!("not an http or https URL, but one of {other}")),
            None => return Err("not an http or https URL: it begins with neither".into()),
        };
        let host = uri.host().filter(|host| !host.is_empty()).ok_or("no host in the URL")?;
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let port = authority.strip_prefix(host).unwrap_or_default();
        if authority.contains('@') {
            return Err("a user name in the URL, which is not supported".into());
        }
        if port.len() > ":".len() && uri.port().is_none() {
            return Err(format!("no port in the URL, but {port}"));
        }
        Ok(Target {
            https,
            host: host.trim_matches(['[', ']']).to_owned(),
            port: uri.port_u16().unwrap_or(if https { 443 } else { 80 }),
            authority: authority.to_owned(),
            path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
        })
    }

    pub fn url(&self) -> String {
        let scheme = if self.https { "https" } else { "http" };
        format!("{scheme}://{}{}", self.authority, self.path)
    }

    /// The last part of the path, decoded: a name for a file that stays in its directory.
    pub fn file_name(&self) -> Result<String, String> {
        let path = self.path.split('?').next().unwrap_or_default();
        let last = path.rsplit('/').next().unwrap_or_default();
        let name = String::from_utf8(decoded(last))
            .map_err(|_| format!("the file name {last} in the URL is not UTF-8"))?;
        match &*name {
            "" => Err("no file name in the URL: nothing follows the host or the last slash".into()),
            "." | ".." => Err(format!("no file name in the URL: {name:?} is a directory")),
            _ if name.contains(['/', '\\']) => {
                Err(format!("the file name {name:?} in the URL would leave the directory"))
            }
            _ if name.contains(char::is_control) => {
                Err(format!("the file name {name:?} in the URL has control characters"))
            }
            _ => Ok(name),
        }
    }

    /// Where a redirect leads; `location` may leave out what stays the same.
    pub fn redirected(&self, location: &str) -> Result<Target, String> {
        let scheme = if self.https { "https" } else { "http" };
        let path = self.path.split('?').next().unwrap_or_default();
        let start = location.split(['/', '?', '#']).next().unwrap_or_default();
        let url = if start.contains(':') {
            location.to_owned()
        } else if location.starts_with("//") {
            format!("{scheme}:{location}")
        } else if location.starts_with('/') {
            format!("{scheme}://{}{location}", self.authority)
        } else {
            let folder = &path[..=path.rfind('/').unwrap_or_default()];
            format!("{scheme}://{}{folder}{location}", self.authority)
        };
        Target::of(&url).map_err(|why| format!("redirected to {url}: {why}"))
    }
}

/// With each `%XX` as its byte; a lone `%` stays.
fn decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let digits = after.get(..2).filter(|_| *first == b'%');
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => (bytes.push(byte), rest = &after[2..]),
            None => (bytes.push(*first), rest = after),
        };
    }
    bytes
}
