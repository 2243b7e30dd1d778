//! The functions, with the names that SQL calls them by. The first name is the one that `EXPLAIN` and encoded plans use.

macro_rules! functions {
    ($($variant:ident: $($name:literal)+;)+) => {
        /// A function or operator of MySQL.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
        #[allow(missing_docs)] // the names are MySQL's
        pub enum Func {
            $($variant,)+
        }

        const NAMES: &[(&str, Func)] = &[$($(($name, Func::$variant),)+)+];

        /// The first name of a function.
        pub(super) fn name(func: Func) -> &'static str {
            match func {
                $(Func::$variant => [$($name),+][0],)+
            }
        }

        /// All functions.
        pub const ALL: &[Func] = &[$(Func::$variant,)+];
    };
}

functions! {
    // arithmetic.rs
    Add: "+"; Sub: "-"; Mul: "*"; Div: "/"; IntDiv: "div"; Mod: "mod" "%"; Neg: "unary_minus";
    BitAnd: "&"; BitOr: "|"; BitXor: "^"; BitNot: "~"; ShiftLeft: "<<"; ShiftRight: ">>"; BitCount: "bit_count";
    // logic.rs
    And: "and" "&&"; Or: "or"; Not: "not" "!"; Xor: "xor";
    IsNull: "isnull"; IsNotNull: "is_not_null"; IsTrue: "is_true"; IsNotTrue: "is_not_true";
    IsFalse: "is_false"; IsNotFalse: "is_not_false";
    // compare.rs
    Eq: "="; NullSafeEq: "<=>"; Ne: "<>" "!="; Lt: "<"; Le: "<="; Gt: ">"; Ge: ">="; Between: "between";
    Greatest: "greatest"; Least: "least"; Coalesce: "coalesce"; IfNull: "ifnull" "nvl"; NullIf: "nullif"; If: "if";
    Interval: "interval"; StrCmp: "strcmp";
    // pattern.rs
    Like: "like"; Regexp: "regexp" "rlike" "regexp_like"; RegexpReplace: "regexp_replace"; RegexpInstr: "regexp_instr";
    RegexpSubstr: "regexp_substr";
    // conversion.rs
    // Names that nobody can call: comparisons put them around constants, branches around subqueries.
    ExactNumber: "exact number"; YearNumber: "year number"; YearStart: "year start"; DateConstant: "date constant";
    ComparedTime: "compared time"; DateNumber: "date number"; TimeNumber: "time number"; Stored: "stored as"; Recollate: "recollate to";
    OnlyRow: "only row"; NoTime: "no time"; LooseDate: "loose date";
    Cast: "cast"; Weight: "sort_key"; WeightString: "weight_string"; CollateTo: "collate"; Binary: "binary";
    // math.rs
    Abs: "abs"; Ceil: "ceiling" "ceil"; Floor: "floor"; Round: "round"; Truncate: "truncate"; Power: "pow" "power";
    Sqrt: "sqrt"; Ln: "ln"; Log: "log"; Log2: "log2"; Log10: "log10"; Exp: "exp"; Sign: "sign"; Rand: "rand"; Pi: "pi";
    Sin: "sin"; Cos: "cos"; Tan: "tan"; Cot: "cot"; Asin: "asin"; Acos: "acos"; Atan: "atan" "atan2";
    Degrees: "degrees"; Radians: "radians"; Crc32: "crc32"; Conv: "conv"; Bin: "bin"; Oct: "oct";
    // string.rs, text.rs
    Concat: "concat"; ConcatWs: "concat_ws"; Length: "length" "octet_length"; CharLength: "char_length" "character_length";
    BitLength: "bit_length"; Upper: "upper" "ucase"; Lower: "lower" "lcase"; Substring: "substring" "substr" "mid";
    Left: "left"; Right: "right"; Trim: "trim"; LTrim: "ltrim"; RTrim: "rtrim"; Replace: "replace"; Repeat: "repeat";
    Reverse: "reverse"; LPad: "lpad"; RPad: "rpad"; Locate: "locate" "position"; InStr: "instr"; Hex: "hex";
    Unhex: "unhex"; Ascii: "ascii"; Ord: "ord"; Char: "char"; Space: "space"; Field: "field"; Elt: "elt";
    FindInSet: "find_in_set"; MakeSet: "make_set"; ExportSet: "export_set"; Soundex: "soundex"; Format: "format"; SubstringIndex: "substring_index"; Quote: "quote";
    Insert: "insert"; Md5: "md5"; Sha1: "sha1" "sha"; Sha2: "sha2"; ToBase64: "to_base64"; FromBase64: "from_base64";
    // datetime.rs, datetime_arith.rs, datetime_format.rs
    Now: "now" "current_timestamp" "localtime" "localtimestamp"; SysDate: "sysdate"; CurrentDate: "curdate" "current_date";
    CurrentTime: "curtime" "current_time"; UtcTimestamp: "utc_timestamp"; UtcDate: "utc_date"; UtcTime: "utc_time";
    Year: "year"; Quarter: "quarter"; Month: "month"; Day: "dayofmonth" "day"; Hour: "hour"; Minute: "minute";
    Second: "second"; MicroSecond: "microsecond"; DayOfWeek: "dayofweek"; DayOfYear: "dayofyear"; WeekDay: "weekday";
    Week: "week"; WeekOfYear: "weekofyear"; YearWeek: "yearweek"; DayName: "dayname"; MonthName: "monthname";
    Date: "date"; Time: "time"; Timestamp: "timestamp"; LastDay: "last_day"; MakeDate: "makedate"; MakeTime: "maketime";
    ToDays: "to_days"; ToSeconds: "to_seconds"; FromDays: "from_days"; TimeToSec: "time_to_sec"; SecToTime: "sec_to_time";
    DateAdd: "date_add" "adddate"; DateSub: "date_sub" "subdate"; DateDiff: "datediff"; TimeDiff: "timediff";
    TimestampDiff: "timestampdiff"; TimestampAdd: "timestampadd"; AddTime: "addtime"; SubTime: "subtime";
    PeriodAdd: "period_add"; PeriodDiff: "period_diff"; Extract: "extract"; DateFormat: "date_format";
    TimeFormat: "time_format"; StrToDate: "str_to_date"; GetFormat: "get_format"; UnixTimestamp: "unix_timestamp";
    FromUnixTime: "from_unixtime"; ConvertTz: "convert_tz";
    // info.rs
    Database: "database" "schema"; User: "user" "session_user" "system_user"; CurrentUser: "current_user";
    ConnectionId: "connection_id"; LastInsertId: "last_insert_id"; FoundRows: "found_rows"; RowCount: "row_count";
    Version: "version"; Charset: "charset"; Collation: "collation"; Coercibility: "coercibility"; Uuid: "uuid";
    Sleep: "sleep"; Benchmark: "benchmark"; InetAton: "inet_aton"; InetNtoa: "inet_ntoa"; AnyValue: "any_value";
}

/// The function of a name, any case.
pub(super) fn find(name: &str) -> Option<Func> {
    let lower = name.to_ascii_lowercase();
    NAMES.iter().find(|(known, _)| *known == lower).map(|(_, func)| *func)
}
