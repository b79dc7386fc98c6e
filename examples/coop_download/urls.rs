//! Which URLs: from the command line, from a file, or the article's.

use std::collections::HashSet;
use std::io::{self, Read};
use std::path::Path;

use log::info;

use crate::cli::Arguments;
use crate::part::Checksum;

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
    /// Of its file, as it is to be.
    pub checksum: Option<Checksum>,
    /// `FILE:LINE`.
    place: Option<String>,
}

impl Address {
    pub fn new(url: &str) -> Address {
        Address { url: url.to_owned(), checksum: None, place: None }
    }

    /// What is wrong with it, beginning with its place if it has one.
    pub fn locate(&self, why: &str) -> String {
        self.place.as_ref().map_or_else(|| why.to_owned(), |place| format!("{place}: {why}"))
    }
}

/// All that the command line names, each URL once; `None` if it names none.
pub fn named(arguments: &Arguments) -> Result<Option<Vec<Address>>, String> {
    let article = if arguments.article { &ARTICLE[..] } else { &[] };
    let urls = arguments.url.iter().map(String::as_str).chain(article.iter().copied());
    let mut addresses: Vec<_> = urls.map(Address::new).collect();
    if arguments.checksum.len() > arguments.url.len() {
        return Err("there are more checksums than URLs".into());
    }
    for (address, sum) in addresses.iter_mut().zip(&arguments.checksum) {
        address.checksum = Some(*sum);
    }
    if let Some(file) = &arguments.urls {
        addresses.extend(listed(file)?);
    }
    let mut seen = HashSet::new();
    addresses.retain(|address| {
        let new = seen.insert(address.url.clone());
        if !new {
            info!("Named more than once: {}", address.url);
        }
        new
    });
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
    let address = |(line, number): (&str, u32)| -> Result<Address, String> {
        let place = format!("{name}:{number}");
        let (url, sum) = match line.split_once(char::is_whitespace) {
            Some((url, sum)) if sum.trim().starts_with("sha256:") => {
                (url, Some(checksum(sum.trim()).map_err(|why| format!("{place}: {why}"))?))
            }
            _ => (line, None),
        };
        Ok(Address { url: url.to_owned(), checksum: sum, place: Some(place) })
    };
    let addresses = lines.map(address).collect::<Result<Vec<_>, _>>()?;
    match addresses.is_empty() {
        true => Err(format!("no URL in {name}")),
        false => Ok(addresses),
    }
}

/// Reads `sha256:` and 64 digits.
pub fn checksum(text: &str) -> Result<Checksum, String> {
    let digits =
        text.strip_prefix("sha256:").filter(|digits| digits.len() == 64 && digits.is_ascii());
    let byte = |n: usize| u8::from_str_radix(digits?.get(2 * n..2 * n + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..32).map(byte).collect();
    let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| format!("a checksum is sha256: and 64 hexadecimal digits, and not {text}"))
}
