//! The guide: from `yield` to five images, one idea at a time, in [English](en) and in [Chinese](zh_cn).
//!
//! Eleven chapters tell what coroutines are, what came before them, and the three ways that Python had of writing them,
//! in this crate's terms. Each claim has a program under it, with what the program prints:
//!
//! ```text
//! cargo run --example guide -- 4
//! ```
//!
//! runs the programs of chapter 4, and draws what their tasks did. The texts are in the folder `guide`, the programs in
//! `examples/guide`.

/// Chapters, each a module with nothing but its text. The links of a text lead to files of the repository; those
/// of `links.md`, which come first and so prevail, lead to pages of the documentation.
macro_rules! chapters {
    ($links:literal: $($chapter:ident $text:literal)*) => {
        $(
            #[doc = include_str!($links)]
            #[doc = include_str!($text)]
            pub mod $chapter {}
        )*
    };
}

pub mod en {
    //! The guide in English. Begin with [chapter 1](chapter_01).

    chapters! { "../guide/en/links.md":
        chapter_01 "../guide/en/01.md"
        chapter_02 "../guide/en/02.md"
        chapter_03 "../guide/en/03.md"
        chapter_04 "../guide/en/04.md"
        chapter_05 "../guide/en/05.md"
        chapter_06 "../guide/en/06.md"
        chapter_07 "../guide/en/07.md"
        chapter_08 "../guide/en/08.md"
        chapter_09 "../guide/en/09.md"
        chapter_10 "../guide/en/10.md"
        chapter_11 "../guide/en/11.md"
    }
}

pub mod zh_cn {
    //! 中文版。从[第 1 章](chapter_01)开始读。
    //!
    //! 中文版是为中文读者写的，不是逐字的翻译；代码和输出与英文版逐字节相同。所用的术语：
    //!
    #![doc = include_str!("../guide/zh-CN/glossary.md")]

    chapters! { "../guide/zh-CN/links.md":
        chapter_01 "../guide/zh-CN/01.md"
        chapter_02 "../guide/zh-CN/02.md"
        chapter_03 "../guide/zh-CN/03.md"
        chapter_04 "../guide/zh-CN/04.md"
        chapter_05 "../guide/zh-CN/05.md"
        chapter_06 "../guide/zh-CN/06.md"
        chapter_07 "../guide/zh-CN/07.md"
        chapter_08 "../guide/zh-CN/08.md"
        chapter_09 "../guide/zh-CN/09.md"
        chapter_10 "../guide/zh-CN/10.md"
        chapter_11 "../guide/zh-CN/11.md"
    }
}
