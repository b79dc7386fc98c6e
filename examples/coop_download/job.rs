//! What is to be downloaded, and what has come of it.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use hyper::Uri;
use log::{error, info};

use crate::pictures::Picture;

pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// One download.
#[derive(Clone)]
pub struct Job {
    pub url: String,
    /// Where to save it, or why it cannot be downloaded at all.
    target: Result<Target, String>,
}

#[derive(Clone)]
pub struct Target {
    /// A name or an address; an IPv6 address without the brackets that it has in a URL.
    pub host: String,
    pub port: u16,
    /// What the `Host` header says.
    pub authority: String,
    /// What is asked for: the path and the query.
    pub path: String,
    pub file: PathBuf,
}

/// A finished download.
pub struct Done {
    pub url: String,
    pub file: Option<PathBuf>,
    pub seconds: f64,
    /// How many bytes, or what went wrong.
    pub outcome: Result<u64, String>,
}

pub fn jobs(urls: &[String], out: &Path) -> Vec<Job> {
    let mut names = HashSet::new();
    let job = |url: &String| {
        let target = target(url, out).and_then(|target| match names.insert(target.file.clone()) {
            true => Ok(target),
            false => Err(format!("another URL is saved as {}", target.file.display())),
        });
        Job { url: url.clone(), target }
    };
    urls.iter().map(job).collect()
}

fn target(url: &str, out: &Path) -> Result<Target, String> {
    let uri: Uri = url.parse().map_err(|e| format!("not a URL: {e}"))?;
    if uri.scheme_str() != Some("http") {
        return Err("not an http URL".into());
    }
    let host = uri.host().ok_or("no host in the URL")?;
    let port = uri.port_u16().unwrap_or(80);
    let name = uri.path().rsplit('/').next().unwrap_or_default();
    if matches!(name, "" | "." | "..") {
        return Err("no file name in the URL".into());
    }
    Ok(Target {
        host: host.trim_matches(['[', ']']).to_owned(),
        port,
        authority: format!("{host}:{port}"),
        path: uri.path_and_query().map_or("/", |p| p.as_str()).to_owned(),
        file: out.join(name),
    })
}

impl Job {
    /// Runs `download` and keeps what comes of it, the time it took, and an error in its place.
    pub fn measure(self, download: impl FnOnce(&Job, &Target) -> Result<u64, Error>) -> Done {
        let start = Instant::now();
        let outcome = match &self.target {
            Ok(target) => download(&self, target).map_err(|e| describe(&*e)),
            Err(why) => Err(why.clone()),
        };
        self.done(start, outcome)
    }

    /// As [`measure`](Job::measure), for a future.
    pub async fn measure_async(
        self,
        download: impl AsyncFnOnce(&Job, &Target) -> Result<u64, Error>,
    ) -> Done {
        let start = Instant::now();
        let outcome = match &self.target {
            Ok(target) => download(&self, target).await.map_err(|e| describe(&*e)),
            Err(why) => Err(why.clone()),
        };
        self.done(start, outcome)
    }

    fn done(self, start: Instant, outcome: Result<u64, String>) -> Done {
        match &outcome {
            Ok(_) => info!("Downloaded: {}", self.url),
            Err(why) => error!("Failed: {}: {why}", self.url),
        }
        let file = self.target.ok().map(|target| target.file);
        Done { url: self.url, file, seconds: start.elapsed().as_secs_f64(), outcome }
    }
}

/// An error with its causes, unless it has already said them itself.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

impl Done {
    /// Makes it a failure unless the file holds what the server has sent.
    pub fn check(&mut self, pictures: &[Picture]) {
        let (Ok(_), Some(file)) = (&self.outcome, &self.file) else { return };
        let sent = pictures.iter().find(|p| file.ends_with(p.name)).expect("a picture of ours");
        match std::fs::read(file) {
            Ok(bytes) if bytes == sent.bytes => {}
            Ok(_) => self.outcome = Err("the file differs from what the server sent".into()),
            Err(e) => self.outcome = Err(format!("the file cannot be read again: {e}")),
        }
    }
}
