//! The collations against MySQL's answers, the Unicode Consortium's table, and themselves.

use super::Collation::{self, *};
use proptest::prelude::*;
use std::cmp::Ordering;

fn key(collation: Collation, text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    collation.sort_key(text, &mut out);
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02X}")).collect()
}

fn weights(collation: Collation, text: &str) -> String {
    hex(&collation.weight_string(text.as_bytes()))
}

fn equal(collation: Collation, a: &str, b: &str) -> bool {
    let order = collation.compare(a.as_bytes(), b.as_bytes());
    assert_eq!(order, key(collation, a.as_bytes()).cmp(&key(collation, b.as_bytes())), "{collation:?} {a:?} {b:?}");
    order.is_eq()
}

fn assert_ascending(collation: Collation, texts: &[&str]) {
    for pair in texts.windows(2) {
        let order = collation.compare(pair[0].as_bytes(), pair[1].as_bytes());
        assert_eq!(order, Ordering::Less, "{collation:?} {pair:?}");
        assert!(key(collation, pair[0].as_bytes()) < key(collation, pair[1].as_bytes()), "{collation:?} {pair:?}");
    }
}

fn all_characters() -> impl Iterator<Item = char> {
    '\0'..=char::MAX
}

#[test]
fn names_and_numbers_lead_back() {
    for collation in Collation::all() {
        assert_eq!(Collation::from_name(&collation.name().to_uppercase()).unwrap(), collation);
        assert_eq!(Collation::from_id(collation.id().into()), Some(collation));
        assert!(collation.name().starts_with(collation.charset()));
        assert_eq!(collation.character_set().name(), collation.charset());
    }
    assert_eq!(Collation::from_name("utf8_general_ci").unwrap(), Utf8mb3GeneralCi);
    assert_eq!(Collation::of_charset("UTF8MB4").unwrap(), Collation::DEFAULT);
    assert!(Collation::from_name("utf8mb4_0900").is_err() && Collation::of_charset("koi8r").is_err());
    assert_eq!(Collation::all().into_iter().filter(|c| c.is_default()).count(), 5);
}

/// Weights that MySQL 8 and MariaDB show, and lines of allkeys-9.0.0.txt.
#[test]
fn weights_are_known() {
    assert_eq!(weights(Utf8mb40900AiCi, "aB"), "1C471C60");
    assert_eq!(weights(Utf8mb40900AsCi, "aÉ"), "1C471CAA0000002000200024");
    assert_eq!(weights(Utf8mb40900AsCs, "a"), "1C470000002000000002");
    assert_eq!(weights(Utf8mb40900AsCs, "A"), "1C470000002000000008");
    assert_eq!(weights(Utf8mb40900AiCi, "a-b "), "1C47020D1C600209");
    assert_eq!(weights(Utf8mb40900AiCi, "ß"), "1E711E71");
    assert_eq!(weights(Utf8mb40900AiCi, "日本"), "FB40E5E5FB40E72C");
    assert_eq!(weights(Utf8mb40900AsCs, "日"), "FB40E5E50000002000000002");
    assert_eq!(weights(Utf8mb40900AiCi, "\u{3400}\u{20000}\u{17000}\u{e000}"), "FB80B400FB848000FB008000FBC1E000");
    assert_eq!(weights(Utf8mb40900AiCi, "한"), weights(Utf8mb40900AiCi, "\u{1112}\u{1161}\u{11ab}"));
    assert_eq!(weights(Utf8mb40900AsCs, "\u{d7a3}"), "3C073C873CEB00000020002000200000000300030003");
    assert_eq!(weights(Utf8mb40900AiCi, "\u{0}\u{1}\u{301}\u{200d}"), "");
    assert_eq!(weights(Utf8mb40900AiCi, "\u{fdfa}").len(), 8 * 4);

    assert_eq!(weights(Utf8mb4UnicodeCi, "aß "), "0E330FEA0FEA0209");
    assert_eq!(weights(Utf8mb4UnicodeCi, "日한😀"), "FB40E5E5FBC1D55CFFFD");
    assert_eq!(weights(Utf8mb3UnicodeCi, "\u{fdfa}"), "FBC1FDFA");

    assert_eq!(weights(Utf8mb4GeneralCi, "aé ß"), "0041004500200053");
    assert_eq!(weights(Utf8mb4GeneralCi, "日😀\0"), "65E5FFFD0000");
    assert_eq!(weights(Latin1SwedishCi, "äüß€"), "5C59DF80");
    assert_eq!(weights(AsciiGeneralCi, "aZ_"), "415A5F");
    assert_eq!(weights(Utf8mb4Bin, "a "), "6120");
}

#[test]
fn keys_are_fixed() {
    let key = |collation, text: &str| hex(&key(collation, text.as_bytes()));
    assert_eq!(key(Utf8mb40900AiCi, "aB "), "1C471C600209");
    assert_eq!(key(Utf8mb40900AsCs, "aB"), "1C471C600000002000200000000200 08".replace(' ', ""));
    assert_eq!(key(Utf8mb4GeneralCi, "aB "), "004100420002");
    assert_eq!(key(Utf8mb4GeneralCi, "a  b"), "00410020002000420002");
    assert_eq!(key(Utf8mb4GeneralCi, "a \t"), "004100010000090002");
    assert_eq!(key(Utf8mb4UnicodeCi, " \t"), "00010000010002");
    assert_eq!(key(Utf8mb4Bin, "é "), "C3A902");
    assert_eq!(key(Utf8mb4Bin, "a \t "), "6101000902");
    assert_eq!(key(Latin1Bin, "a €"), "61208002");
    assert_eq!(key(Utf8mb40900Bin, "é "), "C3A920");
}

#[test]
fn equality_is_mysqls() {
    let case = [Utf8mb40900AiCi, Utf8mb4UnicodeCi, Utf8mb4GeneralCi, Utf8mb40900AsCi];
    assert!(case.into_iter().all(|c| equal(c, "abcXYZ", "ABCxyz") && !equal(c, "a-b", "ab") && !equal(c, "a", "b")));
    assert!(!equal(Utf8mb40900AsCs, "a", "A") && equal(Utf8mb40900AsCs, "a", "a"));

    for c in [Utf8mb40900AiCi, Utf8mb4UnicodeCi, Utf8mb3UnicodeCi] {
        assert!(equal(c, "Straße", "STRASSE") && !equal(c, "ß", "s") && equal(c, "é", "e"));
        assert!(
            equal(c, "e\u{301}", "é") && equal(c, "ＡＢＣ１", "abc1") && equal(c, "æ", "ae") == (c == Utf8mb40900AiCi)
        );
    }
    for c in [Utf8mb4GeneralCi, Utf8mb3GeneralCi] {
        assert!(equal(c, "ß", "s") && !equal(c, "ß", "ss") && equal(c, "é", "E"));
        assert!(!equal(c, "e\u{301}", "é") && !equal(c, "ＡＢＣ", "abc") && !equal(c, "æ", "ae"));
    }
    assert!(
        !equal(Utf8mb40900AsCi, "é", "e") && equal(Utf8mb40900AsCi, "é", "É") && !equal(Utf8mb40900AsCi, "ß", "ss")
    );
    assert!(equal(Utf8mb40900AsCs, "e\u{301}", "é") && equal(Utf8mb40900AsCi, "e\u{301}", "É"));

    assert!(
        equal(Utf8mb40900AiCi, "あ", "ア") && equal(Utf8mb40900AiCi, "か", "が") && !equal(Utf8mb40900AsCs, "あ", "ア")
    );
    assert!(equal(Utf8mb40900AiCi, "한", "\u{1112}\u{1161}\u{11ab}") && !equal(Utf8mb40900AiCi, "한", "하"));
    assert!(!equal(Utf8mb40900AiCi, "й", "и") && equal(Utf8mb40900AiCi, "и\u{306}", "и"));
    // The compatibility ideograph has the weights of the one that it is compatible with.
    assert!(equal(Utf8mb40900AiCi, "\u{f900}", "\u{8c48}") && !Utf8mb40900AiCi.same_char('\u{f900}', '\u{8c48}'));

    assert!(
        !equal(Utf8mb40900AiCi, "😀", "😁")
            && equal(Utf8mb4UnicodeCi, "😀", "😁")
            && equal(Utf8mb4GeneralCi, "😀", "😁")
    );
    assert!(Utf8mb4GeneralCi.same_char('😀', '😁') && !Utf8mb4UnicodeCi.same_char('😀', '😁'));
    assert!(!equal(Latin1SwedishCi, "ä", "a") && equal(Latin1SwedishCi, "ä", "Æ") && equal(Latin1SwedishCi, "Ü", "y"));
    assert!(!equal(AsciiGeneralCi, "é", "É") && equal(AsciiGeneralCi, "k", "K"));
}

#[test]
fn trailing_spaces_count_where_mysql_counts_them() {
    for collation in Collation::all() {
        assert_eq!(equal(collation, "a", "a  "), collation.pads_space(), "{collation:?}");
        assert_eq!(equal(collation, "", " "), collation.pads_space(), "{collation:?}");
        assert!(!equal(collation, " a", "a"));
    }
    for collation in [Utf8mb4GeneralCi, Utf8mb4UnicodeCi, Latin1SwedishCi, AsciiGeneralCi] {
        assert_ascending(
            collation,
            &["\t", "\ta", " \n", "", "a\t\tb", "a\t", "a \t", "a  \t", "a", "a  b", "a b", "a!", "ab"],
        );
    }
}

#[test]
fn order_is_mysqls() {
    assert_ascending(
        Utf8mb40900AiCi,
        &["", " ", "_", "-", "0", "9", "a", "ab", "b", "z", "α", "я", "あ", "日", "\u{10ffff}"],
    );
    assert_ascending(Utf8mb40900AsCs, &["cote", "coté", "côte", "côté", "Côté", "cotea"]);
    assert_ascending(Utf8mb40900AsCs, &["a", "A", "á", "Á", "b", "B"]);
    assert_ascending(Utf8mb4GeneralCi, &["", "0", "a", "_", "\u{a0}", "ж", "日"]);
    assert_ascending(Utf8mb4Bin, &["A", "Z", "_", "a", "é", "日", "😀"]);
    assert_ascending(Utf8mb4Bin, &["\t", "", "a\t", "a \t", "a", "a  b", "a!"]);
    assert_ascending(Latin1Bin, &["a\t", "a", "z", "€", "Ä", "é"]);
    assert_ascending(Latin1SwedishCi, &["z", "å", "ä", "ö"]);
}

#[test]
fn like_compares_characters() {
    let like = |text: &str, pattern: &str, c| crate::func::like_matches(text.as_bytes(), pattern.as_bytes(), b"\\", c);
    assert!(like("Straße", "STRA_E", Utf8mb40900AiCi) && !like("Straße", "STRASSE", Utf8mb40900AiCi));
    assert!(like("CAFÉ au lait", "café%LAIT", Utf8mb40900AiCi) && !like("CAFÉ", "cafe", Utf8mb40900AsCi));
    assert!(
        like("😀", "_", Utf8mb40900AiCi) && !like("😀", "😁", Utf8mb40900AiCi) && like("が", "カ", Utf8mb40900AiCi)
    );
    assert!(!like("a", "a ", Utf8mb4GeneralCi) && !like("a", "A", Utf8mb40900AsCs));
}

#[test]
fn examples_have_the_key() {
    let example = |c: Collation, text: &str| c.example(&key(c, text.as_bytes()));
    for c in [Utf8mb40900AiCi, Utf8mb40900AsCs, Utf8mb4UnicodeCi, Utf8mb4GeneralCi, Latin1SwedishCi, AsciiGeneralCi] {
        assert_eq!(example(c, "Order 12-AB/x_9"), "order 12-ab/x_9", "{c:?}");
        assert_eq!(example(c, "日本\t a"), "日本\t a", "{c:?}");
    }
    assert_eq!(example(Utf8mb40900AiCi, "Élan ж😀\u{17001}\u{20001}"), "elan ж😀\u{17001}\u{20001}");
    assert_eq!(example(Utf8mb4Bin, "É "), "É");
}

/// Whatever the tables say, every level has its ASCII weights and the marks of padded keys are free.
#[test]
fn marks_are_free() {
    for collation in [Utf8mb4GeneralCi, Utf8mb4UnicodeCi, Latin1SwedishCi, AsciiGeneralCi] {
        let space = collation.table().unwrap().0.space();
        for c in all_characters() {
            for &weight in collation.table().unwrap().0.weights(u32::from(c), 0).as_slice() {
                assert!(if weight < space { weight >> 8 == space >> 8 } else { weight > 2 }, "{collation:?} {c:?}");
            }
        }
    }
    for level in 0..3 {
        for c in all_characters() {
            assert!(Utf8mb40900AsCs.table().unwrap().0.weights(u32::from(c), level).as_slice().iter().all(|w| *w != 0));
        }
    }
}

/// Keys are on disks. When this fails, raise [`Collation::weights_version`] or undo the change.
#[test]
fn no_key_has_changed() {
    let checksum = |collation: Collation| {
        let mut sum = 0xcbf2_9ce4_8422_2325_u64;
        let (mut text, mut key) = ([0; 4], Vec::new());
        for c in all_characters() {
            key.clear();
            collation.sort_key(c.encode_utf8(&mut text).as_bytes(), &mut key);
            for &byte in key.iter().chain([&0xff]) {
                sum = (sum ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
            }
        }
        sum
    };
    // Computed by another program from pyuca's weights and from MariaDB's WEIGHT_STRING.
    for (collation, version, sum) in [
        (Utf8mb40900AiCi, 1, 0x1c0a_8106_cdd3_ab98),
        (Utf8mb40900AsCi, 1, 0x8102_c9a3_d57f_d26c),
        (Utf8mb40900AsCs, 1, 0x6bf9_24cf_1fd5_1a77),
        (Utf8mb4GeneralCi, 1, 0x658c_cf69_4180_27f6),
        (Utf8mb3GeneralCi, 1, 0x658c_cf69_4180_27f6),
        (Utf8mb4UnicodeCi, 1, 0x6bbc_b72e_e37f_9b9e),
        (Utf8mb3UnicodeCi, 1, 0x6bbc_b72e_e37f_9b9e),
        (Latin1SwedishCi, 1, 0x1cf0_9cfd_291f_6d88),
        (AsciiGeneralCi, 1, 0x7408_c3c0_730a_8dfd),
    ] {
        assert_eq!((collation.weights_version(), checksum(collation)), (version, sum), "{collation:?}");
    }
}

/// Texts that agree often: few characters, of every kind that has its own rule.
fn texts() -> impl Strategy<Value = String> {
    let letters =
        "[abAB é\u{e}\t\n_0ßæ日豈\u{f900}한\u{1112}\u{1161}あア😀😁\u{301}\u{ad}\u{fdfa}\u{17000}\u{a0}]{0,6}";
    prop_oneof![3 => letters.boxed(), 1 => any::<String>().boxed()]
}

fn collations() -> impl Strategy<Value = Collation> {
    proptest::sample::select(Collation::all().to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn keys_order_as_the_comparison(a in texts(), b in texts(), c in collations()) {
        let order = c.compare(a.as_bytes(), b.as_bytes());
        prop_assert_eq!(order, key(c, a.as_bytes()).cmp(&key(c, b.as_bytes())));
        prop_assert_eq!(c.compare(b.as_bytes(), a.as_bytes()), order.reverse());
        prop_assert_eq!(c.weight(a.as_bytes()).into_owned(), key(c, a.as_bytes()));
    }

    #[test]
    fn any_bytes_have_an_order(
        a in proptest::collection::vec(prop_oneof![any::<u8>(), 0xc0u8..0xf8, 0x80u8..0xc0, Just(b'a')], 0..6),
        tail in proptest::collection::vec(prop_oneof![any::<u8>(), 0x80u8..0xc0], 0..4),
        cut in 0usize..6,
        c in collations(),
    ) {
        let b = [&a[..cut.min(a.len())], &tail[..]].concat();
        prop_assert_eq!(c.compare(&a, &b), key(c, &a).cmp(&key(c, &b)));
    }

    #[test]
    fn spaces_behind_are_ignored_or_count(a in texts(), spaces in 1usize..4, c in collations()) {
        let padded = format!("{a}{}", " ".repeat(spaces));
        prop_assert_eq!(c.compare(a.as_bytes(), padded.as_bytes()).is_eq(), c.pads_space());
    }

    #[test]
    fn the_same_character_is_an_equal_string(a in any::<char>(), b in any::<char>(), c in collations()) {
        prop_assert!(c.same_char(a, a));
        if c.same_char(a, b) {
            prop_assert!(c.compare(a.to_string().as_bytes(), b.to_string().as_bytes()).is_eq());
        }
    }

    #[test]
    fn examples_are_equal_to_the_text(a in texts(), c in collations()) {
        let a = a.replace('\u{fdfa}', "");
        let example = c.example(&key(c, a.as_bytes()));
        if c.table().is_none_or(|(_, levels)| levels == 1) && !a.contains(|c| c > '\u{ffff}') {
            prop_assert_eq!(c.compare(a.as_bytes(), example.as_bytes()), Ordering::Equal, "{:?}", example);
        }
    }

    #[test]
    fn anything_has_an_example(bytes in proptest::collection::vec(any::<u8>(), 0..9), c in collations()) {
        let _ = c.example(&bytes);
    }
}
