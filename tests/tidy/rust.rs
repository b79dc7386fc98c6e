//! As much of Rust's syntax as the rules need: lines of code and comments, imports, and names of items.

pub struct File {
    pub name: String,
    pub lines: Vec<Line>,
    /// The lines without the modules that hold tests. (In rustfmt's layout a module ends at the next brace in the first
    /// column.)
    pub production: Vec<Line>,
}

/// A line of a source file, taken apart.
#[derive(Clone, Debug, Default)]
pub struct Line {
    pub number: usize,
    /// What it holds of code; each character of a string is a quotation mark here.
    pub code: String,
    /// What it holds of comments, documentation among them.
    pub comment: String,
}

impl Line {
    pub fn has_code(&self) -> bool {
        !self.code.trim().is_empty()
    }
}

impl File {
    pub fn new(name: &str, text: &str) -> File {
        let lines = lines(text);
        let mut rest = lines.iter().peekable();
        let mut production = Vec::new();
        while let Some(line) = rest.next() {
            let is_of_tests = line.code.starts_with("#[cfg(") && line.code.contains("test");
            if is_of_tests && rest.peek().is_some_and(|next| next.code.starts_with("mod ")) {
                rest.by_ref().find(|line| line.code == "}");
            } else {
                production.push(line.clone());
            }
        }
        File { name: name.to_owned(), lines, production }
    }

    /// The names of all its items of this kind: `fn`, `struct`.
    pub fn names(&self, kind: &str) -> Vec<&str> {
        self.production.iter().filter_map(|line| name_after(&line.code, kind)).collect()
    }

    pub fn types(&self) -> Vec<&str> {
        ["struct", "enum", "union"].iter().flat_map(|kind| self.names(kind)).collect()
    }

    /// The inherent methods that it defines, each with its type's name before it.
    pub fn methods(&self) -> Vec<(&str, &str)> {
        let (mut of, mut methods) = (None, Vec::new());
        for Line { code, .. } in &self.production {
            if let Some(head) = code.strip_prefix("impl") {
                let mut depth = 0;
                let generics = head.find(|c| {
                    depth += i32::from(c == '<') - i32::from(c == '>');
                    c == ' ' && depth == 0
                });
                let head = &head[generics.unwrap_or(0)..];
                of = (!head.contains(" for ")).then(|| first_word(head.trim_start()));
            }
            let is_method = code.starts_with("    ") && !code.starts_with("     ");
            if let (Some(of), Some(name), true) = (of, name_after(code, "fn"), is_method) {
                methods.push((of, name));
            }
        }
        methods
    }

    /// What a file of `src` takes from others: line numbers, and paths from the root of the crate. These are
    /// the paths that begin with `crate`, `self` or `super`, in a `use` or elsewhere, and each `mod name;`.
    /// (A path that begins with the name of a child need not be looked at: its `mod` is there too.)
    pub fn imports(&self) -> Vec<(usize, Vec<String>)> {
        let file_module = self.name.trim_start_matches("src/").trim_end_matches(".rs").split('/');
        let file_module: Vec<&str> = file_module.filter(|m| !matches!(*m, "mod" | "lib")).collect();
        let code: String = self.production.iter().flat_map(|line| [&line.code, "\n"]).collect();

        let mut module = file_module.clone();
        let mut line_start = 0;
        let mut imports = Vec::new();
        for Line { number, code: line, .. } in &self.production {
            match line.split_whitespace().collect::<Vec<_>>()[..] {
                [.., "mod", name, "{"] => module.push(name),
                _ if line.starts_with('}') => module.clone_from(&file_module),
                [.., "mod", name] => imports.push((*number, from_root(&module, &["self", name]))),
                _ => {}
            }
            for start in ["crate", "self", "super"].iter().flat_map(|root| words(line, root)) {
                let path = &code[line_start + start..];
                if path.trim_start_matches(is_of_a_word).starts_with("::") {
                    let mut paths = Vec::new();
                    expand(path, &[], &mut paths);
                    imports.extend(paths.iter().map(|path| (*number, from_root(&module, path))));
                }
            }
            line_start += line.len() + 1;
        }
        imports
    }
}

/// Collects the paths of a use tree: `a::{b, c::d}` is `a::b` and `a::c::d`. Returns what follows it.
fn expand<'a>(tree: &'a str, before: &[&'a str], paths: &mut Vec<Vec<&'a str>>) -> &'a str {
    if let Some(group) = tree.strip_prefix('{') {
        let mut rest = group.trim_start();
        while !rest.starts_with('}') {
            rest = expand(rest, before, paths);
            let end = rest.find([',', '}']).expect("rustc takes this file"); // skips `as name`
            rest = rest[end..].trim_start_matches(',').trim_start();
        }
        return &rest[1..];
    }
    let end = tree.find(|c| !is_of_a_word(c)).unwrap_or(tree.len());
    let (name, rest) = tree.split_at(end);
    let path = [before, &[name]].concat();
    if let Some(rest) = rest.strip_prefix("::") {
        return expand(rest, &path, paths);
    }
    paths.push(path);
    rest
}

/// A path written in `module`, from the root of the crate.
fn from_root(module: &[&str], path: &[&str]) -> Vec<String> {
    let mut from_root = module.to_vec();
    for name in path {
        match *name {
            "crate" => from_root.clear(),
            "super" => drop(from_root.pop()),
            "self" | "" => {} // nothing is what comes before the `*` of a glob
            name => from_root.push(name.trim_end_matches(';')),
        }
    }
    from_root.into_iter().map(str::to_owned).collect()
}

fn is_of_a_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn first_word(code: &str) -> &str {
    &code[..code.find(|c| !is_of_a_word(c)).unwrap_or(code.len())]
}

/// What is named after this word: after `fn`, a function.
fn name_after<'a>(code: &'a str, word: &str) -> Option<&'a str> {
    let at = words(code, word).next()?;
    code[at + word.len()..].strip_prefix(' ').map(first_word)
}

/// Where a word stands in a line of code, each time that it begins there (a path's later parts do not, and
/// neither does `$crate`, which is for whoever calls the macro).
pub fn words(code: &str, word: &str) -> impl Iterator<Item = usize> {
    let is_whole = move |start: &usize| {
        let before = code[..*start].chars().next_back();
        let after = code[start + word.len()..].chars().next();
        !before.is_some_and(|c| is_of_a_word(c) || matches!(c, ':' | '$'))
            && !after.is_some_and(is_of_a_word)
    };
    code.match_indices(word).map(|(start, _)| start).filter(is_whole)
}

#[derive(Clone, Copy)]
enum Kind {
    Code,
    Comment,
    Quoted,
}

/// Takes the lines of a file apart into code and comments.
fn lines(text: &str) -> Vec<Line> {
    let mut lines = vec![Line { number: 1, ..Line::default() }];
    let mut rest = text;
    while !rest.is_empty() {
        let (kind, length) = token(rest);
        for (at, part) in rest[..length].split('\n').enumerate() {
            if at > 0 {
                lines.push(Line { number: lines.len() + 1, ..Line::default() });
            }
            let line = lines.last_mut().expect("there is a first");
            match kind {
                Kind::Code => line.code += part,
                Kind::Comment => line.comment += part,
                Kind::Quoted => line.code += &"\"".repeat(part.len()),
            }
        }
        rest = &rest[length..];
    }
    lines
}

/// The token that this begins with: what it is, and how long.
fn token(text: &str) -> (Kind, usize) {
    let through = |mark: &str, from: usize| {
        text[from..].find(mark).map_or(text.len(), |at| from + at + mark.len())
    };
    let word = first_word(text);
    let after = &text[word.len()..];
    let hashes = after.len() - after.trim_start_matches('#').len();
    let mut chars = text.char_indices().skip(1);
    if matches!(word, "r" | "br" | "cr") && after[hashes..].starts_with('"') {
        let end = format!("\"{}", "#".repeat(hashes));
        (Kind::Quoted, through(&end, word.len() + hashes + 1))
    } else if !word.is_empty() {
        (Kind::Code, word.len())
    } else if text.starts_with("//") {
        (Kind::Comment, text.find('\n').unwrap_or(text.len()))
    } else if text.starts_with("/*") {
        (Kind::Comment, through("*/", 2))
    } else if text.starts_with('"') {
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => return (Kind::Quoted, at + 1),
                '\\' => drop(chars.next()),
                _ => {}
            }
        }
        (Kind::Quoted, text.len())
    } else if text.starts_with('\'') {
        match (chars.next(), chars.next()) {
            (Some((_, '\\')), Some((at, c))) => (Kind::Quoted, through("'", at + c.len_utf8())),
            (Some(_), Some((at, '\''))) => (Kind::Quoted, at + 1),
            _ => (Kind::Code, 1), // A lifetime.
        }
    } else {
        (Kind::Code, text.chars().next().map_or(0, char::len_utf8))
    }
}

#[test]
fn code_is_told_from_comments_and_quotes() {
    let code = |text| lines(text).into_iter().map(|line| line.code).collect::<Vec<_>>();
    assert_eq!(code("a /* b\n d*/ e // f"), ["a ", " e "]);
    assert_eq!(code(r#"a("b \" c\\") d"#), [r#"a("""""""""") d"#]);
    assert_eq!(code("r#\"a\" // b\n\"# c"), ["\"\"\"\"\"\"\"\"\"\"", "\"\" c"]);
    assert_eq!(
        code(r"('a', '\'', '\u{7f}', '/') // b").concat().matches(['a', '/', '7']).count(),
        0
    );
    assert_eq!(code("&'a str // b"), ["&'a str "]);
}
