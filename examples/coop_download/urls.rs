//! Which URLs: from the command line, from a file, or the article's.

use std::io::{self, Read};
use std::path::Path;

use crate::cli::Arguments;

/// The pictures of <https://codeflex.co/python3-async-await-example>, which downloads them one after the
/// other and then with asyncio.
const ARTICLE: [&str; 5] = [
    "https://codeflex.co/wp-content/uploads/2021/01/pandas-dataframe-python-1024x512.png",
    "https://codeflex.co/wp-content/uploads/2021/02/github-actions-deployment-to-eks-with-kustomize-1024x536.jpg",
    "https://codeflex.co/wp-content/uploads/2021/02/boto3-s3-multipart-upload-1024x536.jpg",
    "https://codeflex.co/wp-content/uploads/2018/02/kafka-cluster-architecture.jpg",
    "https://codeflex.co/wp-content/uploads/2016/09/redis-cluster-topology.png",
];

/// A URL, and where it was read.
pub struct Address {
    pub url: String,
    /// `FILE:LINE`.
    place: Option<String>,
}

impl Address {
    pub fn new(url: &str) -> Address {
        Address { url: url.to_owned(), place: None }
    }

    /// What is wrong with it, beginning with its place if it has one.
    pub fn locate(&self, why: &str) -> String {
        self.place.as_ref().map_or_else(|| why.to_owned(), |place| format!("{place}: {why}"))
    }
}

/// All that the command line names; `None` if it names none.
pub fn named(arguments: &Arguments) -> Result<Option<Vec<Address>>, String> {
    let article = if arguments.article { &ARTICLE[..] } else { &[] };
    let urls = arguments.url.iter().map(String::as_str).chain(article.iter().copied());
    let mut addresses: Vec<_> = urls.map(Address::new).collect();
    if let Some(file) = &arguments.urls {
        addresses.extend(listed(file)?);
    }
    Ok(Some(addresses).filter(|addresses| !addresses.is_empty()))
}

fn listed(file: &Path) -> Result<Vec<Address>, String> {
    let mut bytes = Vec::new();
    let (name, read) = match file == Path::new("-") {
        true => ("standard input".into(), io::stdin().read_to_end(&mut bytes).map(|_| bytes)),
        false => (file.display().to_string(), std::fs::read(file)),
    };
    let bytes = read.map_err(|e| format!("cannot read the URLs in {name}: {e}"))?;
    let text = String::from_utf8_lossy(&bytes);
    let text = text.trim_start_matches('\u{feff}'); // the mark that Windows begins a text with
    let lines = text.lines().map(str::trim).zip(1..);
    let lines = lines.filter(|(line, _)| !line.is_empty() && !line.starts_with('#'));
    let address = |(line, number): (&str, u32)| Address {
        url: line.to_owned(),
        place: Some(format!("{name}:{number}")),
    };
    let addresses: Vec<_> = lines.map(address).collect();
    match addresses.is_empty() {
        true => Err(format!("no URL in {name}")),
        false => Ok(addresses),
    }
}
