//! Expressions over the columns in sight.

use crate::maker::{Column, Maker, Scope};
use crate::tree::Tree;
use crate::types::{Class, constant, typed_constant};

/// Functions: what they give, how they are written, what they take. Only what MySQL and MariaDB answer alike.
const FUNCTIONS: &[(Class, &str, &[Class])] = &[
    (Class::Int, "LENGTH(?)", &[Class::Text]),
    (Class::Int, "CHAR_LENGTH(?)", &[Class::Text]),
    (Class::Int, "LENGTH(?)", &[Class::Bytes]),
    (Class::Int, "LENGTH(?)", &[Class::Decimal]),
    (Class::Int, "BIT_LENGTH(?)", &[Class::Text]),
    (Class::Int, "ASCII(?)", &[Class::Text]),
    (Class::Int, "ORD(?)", &[Class::Text]),
    (Class::Int, "LOCATE('a', ?)", &[Class::Text]),
    (Class::Int, "INSTR(?, 'b')", &[Class::Text]),
    (Class::Int, "STRCMP(?, ?)", &[Class::Text, Class::Text]),
    (Class::Int, "FIELD(?, 1, 2, 3)", &[Class::Int]),
    (Class::Int, "FIELD(?, 'a', 'B', 'é')", &[Class::Text]),
    (Class::Int, "FIND_IN_SET(?, 'a,b,é')", &[Class::Text]),
    (Class::Int, "INTERVAL(?, 0, 2, 5)", &[Class::Int]),
    (Class::Int, "CRC32(?)", &[Class::Text]),
    (Class::Int, "BIT_COUNT(?)", &[Class::Int]),
    (Class::Int, "ABS(?)", &[Class::Int]),
    (Class::Int, "SIGN(?)", &[Class::Int]),
    (Class::Int, "SIGN(?)", &[Class::Decimal]),
    (Class::Int, "SIGN(?)", &[Class::Real]),
    (Class::Int, "(? + ?)", &[Class::Int, Class::Int]),
    (Class::Int, "(? * 2)", &[Class::Int]),
    (Class::Int, "(? - 1)", &[Class::Int]),
    (Class::Int, "(? DIV ?)", &[Class::Int, Class::Int]),
    (Class::Int, "(? DIV ?)", &[Class::Decimal, Class::Int]),
    (Class::Int, "(? % ?)", &[Class::Int, Class::Int]),
    (Class::Int, "MOD(?, 3)", &[Class::Int]),
    (Class::Int, "(? & ?)", &[Class::Int, Class::Int]),
    (Class::Int, "(? | 5)", &[Class::Int]),
    (Class::Int, "(? ^ 3)", &[Class::Int]),
    (Class::Int, "(? << 2)", &[Class::Int]),
    (Class::Int, "(? >> 1)", &[Class::Int]),
    (Class::Int, "(~ ?)", &[Class::Int]),
    (Class::Int, "(- ?)", &[Class::Int]),
    (Class::Int, "ROUND(?)", &[Class::Int]),
    (Class::Int, "ROUND(?, -1)", &[Class::Int]),
    (Class::Int, "YEAR(?)", &[Class::Date]),
    (Class::Int, "MONTH(?)", &[Class::Moment]),
    (Class::Int, "DAYOFWEEK(?)", &[Class::Date]),
    (Class::Int, "DAYOFYEAR(?)", &[Class::Date]),
    (Class::Int, "WEEKDAY(?)", &[Class::Moment]),
    (Class::Int, "WEEK(?)", &[Class::Date]),
    (Class::Int, "WEEK(?, 3)", &[Class::Date]),
    (Class::Int, "YEARWEEK(?)", &[Class::Date]),
    (Class::Int, "QUARTER(?)", &[Class::Date]),
    (Class::Int, "TO_DAYS(?)", &[Class::Date]),
    (Class::Int, "DATEDIFF(?, ?)", &[Class::Date, Class::Moment]),
    (Class::Int, "HOUR(?)", &[Class::Time]),
    (Class::Int, "SECOND(?)", &[Class::Moment]),
    (Class::Int, "MICROSECOND(?)", &[Class::Moment]),
    (Class::Int, "TIME_TO_SEC(?)", &[Class::Time]),
    (Class::Int, "TIMESTAMPDIFF(DAY, ?, ?)", &[Class::Moment, Class::Moment]),
    (Class::Int, "TIMESTAMPDIFF(MONTH, ?, ?)", &[Class::Date, Class::Date]),
    (Class::Int, "EXTRACT(YEAR_MONTH FROM ?)", &[Class::Date]),
    (Class::Int, "EXTRACT(DAY_SECOND FROM ?)", &[Class::Moment]),
    (Class::Int, "CAST(? AS SIGNED)", &[Class::Decimal]),
    (Class::Int, "CAST(? AS SIGNED)", &[Class::Date]),
    (Class::Int, "CAST(? AS SIGNED)", &[Class::Time]),
    (Class::Int, "CAST(? AS SIGNED)", &[Class::Text]),
    (Class::Int, "CAST(? AS UNSIGNED)", &[Class::Int]),
    (Class::Decimal, "(? + ?)", &[Class::Decimal, Class::Decimal]),
    (Class::Decimal, "(? - ?)", &[Class::Decimal, Class::Int]),
    (Class::Decimal, "(? * 1.5)", &[Class::Decimal]),
    (Class::Decimal, "(? / ?)", &[Class::Int, Class::Int]),
    (Class::Decimal, "(? / 3)", &[Class::Decimal]),
    (Class::Decimal, "(? % 2)", &[Class::Decimal]),
    (Class::Decimal, "ABS(?)", &[Class::Decimal]),
    (Class::Decimal, "ROUND(?, 1)", &[Class::Decimal]),
    (Class::Decimal, "TRUNCATE(?, 1)", &[Class::Decimal]),
    (Class::Int, "FLOOR(?)", &[Class::Decimal]),
    (Class::Int, "CEIL(?)", &[Class::Decimal]),
    (Class::Decimal, "CAST(? AS DECIMAL(20,3))", &[Class::Int]),
    (Class::Decimal, "CAST(? AS DECIMAL(10,1))", &[Class::Decimal]),
    (Class::Decimal, "CAST(? AS DECIMAL(10,2))", &[Class::Text]),
    (Class::Real, "(? + ?)", &[Class::Real, Class::Int]),
    (Class::Real, "(? * 0.5)", &[Class::Real]),
    (Class::Real, "(? / 2)", &[Class::Real]),
    (Class::Real, "FLOOR(?)", &[Class::Real]),
    (Class::Real, "CEILING(?)", &[Class::Real]),
    (Class::Real, "ROUND(?)", &[Class::Real]),
    (Class::Real, "SQRT(ABS(?))", &[Class::Int]),
    (Class::Real, "POW(?, 2)", &[Class::Real]),
    (Class::Real, "(? + 0)", &[Class::Text]),
    (Class::Text, "CONCAT(?, ?)", &[Class::Text, Class::Text]),
    (Class::Text, "CONCAT(?, 'x')", &[Class::Text]),
    (Class::Text, "CONCAT(?, '')", &[Class::Int]),
    (Class::Text, "CONCAT(?, '')", &[Class::Date]),
    (Class::Text, "CONCAT(?, '')", &[Class::Decimal]),
    (Class::Text, "CONCAT_WS('-', ?, ?)", &[Class::Text, Class::Text]),
    (Class::Text, "UPPER(?)", &[Class::Text]),
    (Class::Text, "LOWER(?)", &[Class::Text]),
    (Class::Text, "TRIM(?)", &[Class::Text]),
    (Class::Text, "RTRIM(?)", &[Class::Text]),
    (Class::Text, "REVERSE(?)", &[Class::Text]),
    (Class::Text, "LEFT(?, 1)", &[Class::Text]),
    (Class::Text, "RIGHT(?, 2)", &[Class::Text]),
    (Class::Text, "SUBSTRING(?, 2)", &[Class::Text]),
    (Class::Text, "SUBSTRING(?, -2, 1)", &[Class::Text]),
    (Class::Text, "REPLACE(?, 'a', 'zz')", &[Class::Text]),
    (Class::Text, "INSERT(?, 1, 1, 'q')", &[Class::Text]),
    (Class::Text, "LPAD(?, 4, '日')", &[Class::Text]),
    (Class::Text, "RPAD(?, 3, '*')", &[Class::Text]),
    (Class::Text, "REPEAT(?, 2)", &[Class::Text]),
    (Class::Text, "HEX(?)", &[Class::Bytes]),
    (Class::Text, "HEX(?)", &[Class::Text]),
    (Class::Text, "HEX(?)", &[Class::Int]),
    (Class::Text, "ELT(?, 'a', 'b', 'C')", &[Class::Int]),
    (Class::Text, "DATE_FORMAT(?, '%Y-%m-%d %H:%i')", &[Class::Moment]),
    (Class::Text, "CAST(? AS CHAR)", &[Class::Int]),
    (Class::Text, "CAST(? AS CHAR(3))", &[Class::Text]),
    (Class::Bytes, "CAST(? AS BINARY)", &[Class::Text]),
    (Class::Bytes, "SUBSTRING(?, 1, 2)", &[Class::Bytes]),
    (Class::Date, "DATE(?)", &[Class::Moment]),
    (Class::Date, "LAST_DAY(?)", &[Class::Date]),
    (Class::Date, "(? + INTERVAL 1 MONTH)", &[Class::Date]),
    (Class::Date, "DATE_SUB(?, INTERVAL 3 DAY)", &[Class::Date]),
    (Class::Time, "TIME(?)", &[Class::Moment]),
    (Class::Time, "SEC_TO_TIME(?)", &[Class::Int]),
    (Class::Moment, "(? + INTERVAL 90 MINUTE)", &[Class::Moment]),
    (Class::Moment, "(? - INTERVAL 1 YEAR)", &[Class::Moment]),
    (Class::Moment, "CAST(? AS DATETIME)", &[Class::Date]),
    (Class::Moment, "CAST(? AS DATETIME(6))", &[Class::Moment]),
    (Class::Moment, "TIMESTAMP(?)", &[Class::Date]),
];

/// Functions that MariaDB answers otherwise in some cases.
const MORE_FUNCTIONS: &[(Class, &str, &[Class])] = &[
    (Class::Int, "PERIOD_DIFF(202003, EXTRACT(YEAR_MONTH FROM ?))", &[Class::Date]),
    (Class::Int, "UNIX_TIMESTAMP(?)", &[Class::Date]),
    (Class::Decimal, "UNIX_TIMESTAMP(?)", &[Class::Moment]),
    (Class::Int, "TO_SECONDS(?)", &[Class::Moment]),
    (Class::Int, "WEEKOFYEAR(?)", &[Class::Date]),
    (Class::Int, "WEEK(?, ?)", &[Class::Date, Class::Int]),
    (Class::Int, "TIMESTAMPDIFF(MICROSECOND, ?, ?)", &[Class::Moment, Class::Moment]),
    (Class::Int, "TIMESTAMPDIFF(QUARTER, ?, ?)", &[Class::Date, Class::Moment]),
    (Class::Int, "EXTRACT(DAY_MICROSECOND FROM ?)", &[Class::Moment]),
    (Class::Int, "EXTRACT(HOUR_SECOND FROM ?)", &[Class::Time]),
    (Class::Int, "CAST(? AS UNSIGNED)", &[Class::Text]),
    (Class::Int, "CAST(? AS SIGNED)", &[Class::Real]),
    (Class::Int, "CAST(? AS YEAR)", &[Class::Int]),
    (Class::Int, "ROUND(?, -2)", &[Class::Int]),
    (Class::Int, "TRUNCATE(?, -1)", &[Class::Int]),
    (Class::Int, "(? DIV ?)", &[Class::Real, Class::Int]),
    (Class::Int, "(? % ?)", &[Class::Int, Class::Int]),
    (Class::Int, "LOCATE(?, ?, 2)", &[Class::Text, Class::Text]),
    (Class::Int, "CHAR_LENGTH(?)", &[Class::Moment]),
    (Class::Int, "LENGTH(?)", &[Class::Real]),
    (Class::Int, "REGEXP_INSTR(?, '[b-é]')", &[Class::Text]),
    (Class::Int, "(? REGEXP '^[a-c]')", &[Class::Text]),
    (Class::Int, "(? REGEXP ?)", &[Class::Text, Class::Text]),
    (Class::Int, "BIT_COUNT(?)", &[Class::Bytes]),
    (Class::Int, "(? + ?)", &[Class::Date, Class::Int]),
    (Class::Int, "ASCII(?)", &[Class::Bytes]),
    (Class::Int, "CRC32(?)", &[Class::Decimal]),
    (Class::Int, "FIELD(?, ?, ?)", &[Class::Date, Class::Date, Class::Moment]),
    (Class::Int, "FIELD(?, ?, ?)", &[Class::Decimal, Class::Int, Class::Real]),
    (Class::Int, "STRCMP(?, ?)", &[Class::Int, Class::Text]),
    (Class::Int, "TIME_TO_SEC(?)", &[Class::Moment]),
    (Class::Decimal, "(? * ?)", &[Class::Decimal, Class::Decimal]),
    (Class::Decimal, "(? / ?)", &[Class::Decimal, Class::Decimal]),
    (Class::Decimal, "(? % ?)", &[Class::Decimal, Class::Decimal]),
    (Class::Decimal, "ROUND(?, ?)", &[Class::Decimal, Class::Int]),
    (Class::Decimal, "TRUNCATE(?, ?)", &[Class::Decimal, Class::Int]),
    (Class::Decimal, "(- ?)", &[Class::Decimal]),
    (Class::Decimal, "CAST(? AS DECIMAL(8,2))", &[Class::Real]),
    (Class::Decimal, "CAST(? AS DECIMAL(20,6))", &[Class::Moment]),
    (Class::Decimal, "(? + ?)", &[Class::Moment, Class::Decimal]),
    (Class::Decimal, "MOD(?, 0.7)", &[Class::Int]),
    (Class::Real, "LN(?)", &[Class::Int]),
    (Class::Real, "LOG(2, ?)", &[Class::Real]),
    (Class::Real, "EXP(? % 10)", &[Class::Int]),
    (Class::Real, "SIN(?)", &[Class::Real]),
    (Class::Real, "ATAN(?, ?)", &[Class::Real, Class::Int]),
    (Class::Real, "RADIANS(?)", &[Class::Decimal]),
    (Class::Real, "ROUND(?, 1)", &[Class::Real]),
    (Class::Real, "TRUNCATE(?, 1)", &[Class::Real]),
    (Class::Real, "(? % 2)", &[Class::Real]),
    (Class::Real, "(? * ?)", &[Class::Real, Class::Decimal]),
    (Class::Real, "(? + 0)", &[Class::Bytes]),
    (Class::Real, "(? * 1)", &[Class::Text]),
    (Class::Text, "SUBSTRING_INDEX(?, 'a', -1)", &[Class::Text]),
    (Class::Text, "SUBSTRING(?, ?, ?)", &[Class::Text, Class::Int, Class::Int]),
    (Class::Text, "LTRIM(?)", &[Class::Text]),
    (Class::Text, "TRIM(LEADING 'a' FROM ?)", &[Class::Text]),
    (Class::Text, "TRIM(BOTH ? FROM ?)", &[Class::Text, Class::Text]),
    (Class::Text, "QUOTE(?)", &[Class::Text]),
    (Class::Text, "TO_BASE64(?)", &[Class::Text]),
    (Class::Text, "SHA2(?, 256)", &[Class::Text]),
    (Class::Text, "CONV(?, 10, 7)", &[Class::Int]),
    (Class::Text, "CONV(?, 36, 10)", &[Class::Text]),
    (Class::Text, "BIN(?)", &[Class::Int]),
    (Class::Text, "OCT(?)", &[Class::Decimal]),
    (Class::Text, "FORMAT(?, 2)", &[Class::Decimal]),
    (Class::Text, "FORMAT(?, 1)", &[Class::Int]),
    (Class::Text, "MAKE_SET(?, 'a', 'b', ?)", &[Class::Int, Class::Text]),
    (Class::Text, "INSERT(?, ?, 2, 'zz')", &[Class::Text, Class::Int]),
    (Class::Text, "REPLACE(?, ?, 'é')", &[Class::Text, Class::Text]),
    (Class::Text, "LPAD(?, ?, ?)", &[Class::Text, Class::Int, Class::Text]),
    (Class::Text, "REPEAT(?, ? % 4)", &[Class::Text, Class::Int]),
    (Class::Text, "DAYNAME(?)", &[Class::Date]),
    (Class::Text, "MONTHNAME(?)", &[Class::Moment]),
    (Class::Text, "DATE_FORMAT(?, '%W %D %b %y %j %U %u %V %v %X %x %w')", &[Class::Date]),
    (Class::Text, "DATE_FORMAT(?, '%r %T.%f %p %l %k')", &[Class::Moment]),
    (Class::Text, "TIME_FORMAT(?, '%H:%i:%s.%f %h %p')", &[Class::Time]),
    (Class::Text, "CONCAT(?, ?)", &[Class::Time, Class::Moment]),
    (Class::Text, "CONCAT(?, '|', ?)", &[Class::Real, Class::Decimal]),
    (Class::Text, "CONCAT_WS(?, ?, ?)", &[Class::Text, Class::Int, Class::Date]),
    (Class::Text, "CAST(? AS CHAR)", &[Class::Moment]),
    (Class::Text, "CAST(? AS CHAR(4))", &[Class::Decimal]),
    (Class::Text, "CONVERT(? USING utf8mb4)", &[Class::Text]),
    (Class::Text, "REGEXP_REPLACE(?, 'a', 'xy')", &[Class::Text]),
    (Class::Text, "REGEXP_SUBSTR(?, '[a-z]+')", &[Class::Text]),
    (Class::Text, "HEX(WEIGHT_STRING(?))", &[Class::Text]),
    (Class::Text, "UPPER(?)", &[Class::Date]),
    (Class::Text, "ELT(?, ?, ?)", &[Class::Int, Class::Text, Class::Decimal]),
    (Class::Bytes, "UNHEX(HEX(?))", &[Class::Text]),
    (Class::Bytes, "CAST(? AS BINARY(3))", &[Class::Text]),
    (Class::Bytes, "CONCAT(?, ?)", &[Class::Bytes, Class::Text]),
    (Class::Bytes, "FROM_BASE64(TO_BASE64(?))", &[Class::Bytes]),
    (Class::Bytes, "REVERSE(?)", &[Class::Bytes]),
    (Class::Bytes, "CHAR(? & 127, 65)", &[Class::Int]),
    (Class::Bytes, "(? | ?)", &[Class::Bytes, Class::Bytes]),
    (Class::Bytes, "(~ ?)", &[Class::Bytes]),
    (Class::Date, "MAKEDATE(2020, ?)", &[Class::Int]),
    (Class::Date, "ADDDATE(?, ?)", &[Class::Date, Class::Int]),
    (Class::Date, "FROM_DAYS(737790 + ?)", &[Class::Int]),
    (Class::Date, "(? + INTERVAL ? QUARTER)", &[Class::Date, Class::Int]),
    (Class::Date, "(? - INTERVAL '1-2' YEAR_MONTH)", &[Class::Date]),
    (Class::Date, "CAST(? AS DATE)", &[Class::Text]),
    (Class::Date, "CAST(? AS DATE)", &[Class::Int]),
    (Class::Time, "TIMEDIFF(?, ?)", &[Class::Moment, Class::Moment]),
    (Class::Time, "TIMEDIFF(?, ?)", &[Class::Time, Class::Time]),
    (Class::Time, "MAKETIME(?, 10, 20.5)", &[Class::Int]),
    (Class::Time, "ADDTIME(?, '1:00:01.5')", &[Class::Time]),
    (Class::Time, "SUBTIME(?, ?)", &[Class::Time, Class::Time]),
    (Class::Time, "(? + INTERVAL 50 MINUTE)", &[Class::Time]),
    (Class::Time, "CAST(? AS TIME(2))", &[Class::Moment]),
    (Class::Time, "CAST(? AS TIME)", &[Class::Int]),
    (Class::Time, "SEC_TO_TIME(?)", &[Class::Decimal]),
    (Class::Moment, "ADDTIME(?, ?)", &[Class::Moment, Class::Time]),
    (Class::Moment, "TIMESTAMP(?, ?)", &[Class::Date, Class::Time]),
    (Class::Moment, "FROM_UNIXTIME(ABS(?))", &[Class::Int]),
    (Class::Moment, "FROM_UNIXTIME(?)", &[Class::Decimal]),
    (Class::Moment, "(? + INTERVAL '1 2:3' DAY_MINUTE)", &[Class::Moment]),
    (Class::Moment, "(? + INTERVAL ? MICROSECOND)", &[Class::Moment, Class::Int]),
    (Class::Moment, "(? - INTERVAL ? SECOND)", &[Class::Moment, Class::Decimal]),
    (Class::Moment, "TIMESTAMPADD(WEEK, ?, ?)", &[Class::Int, Class::Moment]),
    (Class::Moment, "CONVERT_TZ(?, '+00:00', '-03:30')", &[Class::Moment]),
    (Class::Moment, "CAST(? AS DATETIME(3))", &[Class::Text]),
    (Class::Moment, "STR_TO_DATE(CONCAT(?, ' 10:11:12'), '%Y-%m-%d %H:%i:%s')", &[Class::Date]),
];

/// Forms that give the class of what they take.
const SAME: &[(&str, usize)] =
    &[("IFNULL(?, ?)", 2), ("COALESCE(?, ?)", 2), ("NULLIF(?, ?)", 2), ("GREATEST(?, ?)", 2), ("LEAST(?, ?)", 2)];

const COMPARISONS: &[&str] =
    &["(? = ?)", "(? = ?)", "(? <> ?)", "(? < ?)", "(? <= ?)", "(? > ?)", "(? >= ?)", "(? <=> ?)"];
const PATTERNS: &[&str] = &["'a%'", "'%b'", "'_'", "'%'", "'%a%'", "'A_'", "'é%'", "'a\\\\%'", "'日%'", "''"];

impl Maker {
    /// A column of a class in sight, sometimes of an outer query.
    pub fn column_of(&mut self, class: Class, scope: &Scope) -> Option<Column> {
        let from_outer = !scope.outer.is_empty() && self.dice.chance(35);
        let fits = |columns: &[Column]| columns.iter().filter(|c| c.class == class).cloned().collect::<Vec<_>>();
        let mut found = if from_outer { fits(&scope.outer) } else { fits(&scope.columns) };
        if found.is_empty() {
            found = fits(&scope.columns);
        }
        (!found.is_empty()).then(|| self.dice.pick(&found).clone())
    }

    /// An expression of a class.
    pub fn expression(&mut self, class: Class, scope: &Scope, depth: u32) -> Tree {
        Tree::Expr(class, self.expression_parts(class, scope, depth))
    }

    fn expression_parts(&mut self, class: Class, scope: &Scope, depth: u32) -> Vec<Tree> {
        let roll = self.dice.below(100);
        if depth == 0 || roll < 55 {
            let column = if self.dice.chance(85) { self.column_of(class, scope) } else { None };
            return vec![Tree::text(match column {
                Some(column) => column.sql,
                None if self.dice.chance(6) => "NULL".into(),
                None => typed_constant(class, &mut self.dice),
            })];
        }
        match roll {
            55..=59 => {
                let (template, count) = *self.dice.pick(SAME);
                let parts = (0..count).map(|_| self.expression(class, scope, depth - 1)).collect();
                Tree::filled(template, parts)
            }
            60..=65 => self.case(class, scope, depth - 1),
            66..=69 if self.subqueries_left() => self.scalar_subquery(class, scope, depth - 1),
            70..=72 if class == Class::Int => vec![self.predicate(scope, depth - 1)],
            _ => {
                let functions = if self.may(50) { MORE_FUNCTIONS } else { FUNCTIONS };
                let fitting: Vec<_> = functions.iter().filter(|(gives, ..)| *gives == class).collect();
                let (_, template, takes) = **self.dice.pick(&fitting);
                let parts = takes.iter().map(|class| self.expression(*class, scope, depth - 1)).collect();
                Tree::filled(template, parts)
            }
        }
    }

    fn case(&mut self, class: Class, scope: &Scope, depth: u32) -> Vec<Tree> {
        if self.dice.chance(35) {
            let parts = vec![
                self.predicate(scope, depth),
                self.expression(class, scope, depth),
                self.expression(class, scope, depth),
            ];
            return Tree::filled("IF(?, ?, ?)", parts);
        }
        let on = self.class_in(scope);
        let is_simple = self.dice.chance(35);
        let mut arms = Vec::new();
        for _ in 0..1 + self.dice.below(2) {
            let when = if is_simple { self.expression(on, scope, 0) } else { self.predicate(scope, depth) };
            arms.push(Tree::Seq(Tree::filled(" WHEN ? THEN ?", vec![when, self.expression(class, scope, depth)])));
        }
        let mut out = vec![Tree::text("CASE ")];
        if is_simple {
            out.push(self.expression(on, scope, 0));
        }
        out.push(Tree::List { items: arms, separator: "", least: 1 });
        if self.dice.chance(70) {
            out.push(Tree::optional(vec![Tree::text(" ELSE "), self.expression(class, scope, depth)]));
        }
        out.push(Tree::text(" END"));
        out
    }

    /// A class of which there are columns.
    pub fn class_in(&mut self, scope: &Scope) -> Class {
        match scope.columns.is_empty() {
            true => Class::Int,
            false => self.dice.pick(&scope.columns).class,
        }
    }

    /// A condition.
    pub fn predicate(&mut self, scope: &Scope, depth: u32) -> Tree {
        Tree::Expr(Class::Int, self.predicate_parts(scope, depth))
    }

    fn predicate_parts(&mut self, scope: &Scope, depth: u32) -> Vec<Tree> {
        let class = self.class_in(scope);
        let inner = depth.saturating_sub(1);
        match self.dice.below(100) {
            0..=37 => self.comparison(class, scope, inner),
            38..=44 => {
                let template = self.dice.word(&["(? IS NULL)", "(? IS NOT NULL)", "ISNULL(?)"]);
                Tree::filled(template, vec![self.expression(class, scope, inner)])
            }
            45..=51 => {
                let parts = (0..3).map(|_| self.expression(class, scope, inner.min(1))).collect();
                Tree::filled(self.dice.word(&["(? BETWEEN ? AND ?)", "(? NOT BETWEEN ? AND ?)"]), parts)
            }
            52..=57 => self.in_list(class, scope, inner),
            58..=60 => self.lists_of_one(class, scope),
            61..=65 => {
                let left = self.expression(Class::Text, scope, inner);
                let pattern = if self.dice.chance(85) {
                    Tree::text(self.dice.word(PATTERNS))
                } else {
                    self.expression(Class::Text, scope, 0)
                };
                Tree::filled(self.dice.word(&["(? LIKE ?)", "(? NOT LIKE ?)"]), vec![left, pattern])
            }
            66..=74 if depth > 0 => {
                let template = self.dice.word(&["(? AND ?)", "(? OR ?)", "(? OR ?)", "(? XOR ?)"]);
                Tree::filled(template, vec![self.predicate(scope, inner), self.predicate(scope, inner)])
            }
            75..=79 if depth > 0 => {
                let template = self.dice.word(&["(NOT ?)", "(? IS TRUE)", "(? IS NOT TRUE)", "(? IS FALSE)", "(! ?)"]);
                Tree::filled(template, vec![self.predicate(scope, inner)])
            }
            80..=83 => self.row_comparison(scope),
            84..=91 if depth > 0 && self.subqueries_left() => self.subquery_predicate(scope, inner),
            92..=94 => {
                let class = *self.dice.pick(&[Class::Int, Class::Decimal]);
                vec![self.expression(class, scope, inner)]
            }
            _ => self.comparison(class, scope, 0),
        }
    }

    fn comparison(&mut self, class: Class, scope: &Scope, depth: u32) -> Vec<Tree> {
        if class == Class::Text && self.dice.chance(12) {
            let names = ["utf8mb4_general_ci", "utf8mb4_unicode_ci", "utf8mb4_bin"];
            let operator = self.dice.word(&["=", "<>", "<", ">=", "<=>", "LIKE"]);
            let template = format!("(? {operator} ? COLLATE {})", self.dice.word(&names));
            let parts = vec![self.expression(class, scope, depth), self.expression(class, scope, 0)];
            return Tree::filled(&template, parts);
        }
        let template = self.dice.word(COMPARISONS);
        let left = self.expression(class, scope, depth);
        let roll = self.dice.below(100);
        let right = if roll < 40 {
            Tree::Expr(class, vec![Tree::text(constant(class, &mut self.dice))])
        } else if roll < 92 || !self.mixes {
            self.expression(class, scope, depth)
        } else {
            let other = *self.dice.pick(&Class::ALL);
            // A TIME is brought to a day by the day on which it is asked.
            let is_time = class == Class::Time || other == Class::Time;
            let is_day = |class| matches!(class, Class::Date | Class::Moment);
            let by_clock = is_time && (is_day(class) || is_day(other));
            self.expression(if by_clock { class } else { other }, scope, depth)
        };
        let parts = if self.dice.chance(15) { vec![right, left] } else { vec![left, right] };
        Tree::filled(template, parts)
    }

    /// Lists of one column beside each other, which an optimizer may make one of.
    fn lists_of_one(&mut self, class: Class, scope: &Scope) -> Vec<Tree> {
        let Some(column) = self.column_of(class, scope) else { return self.in_list(class, scope, 0) };
        let mut parts = Vec::new();
        for _ in 0..2 + self.dice.below(2) {
            let items: Vec<String> =
                (0..1 + self.dice.below(5)).map(|_| crate::types::typed_constant(class, &mut self.dice)).collect();
            let (negated, items) = (self.dice.word(&["", "NOT "]), items.join(", "));
            parts.push(Tree::Expr(Class::Int, vec![Tree::text(format!("{} {negated}IN ({items})", column.sql))]));
        }
        let templates = match parts.len() {
            2 => ["(? AND ?)", "(? OR ?)", "(NOT (? AND ?))", "((? OR ?) IS NULL)"],
            _ => ["(? AND ? AND ?)", "((? OR ?) AND ?)", "(NOT (? AND ?) OR ?)", "((? OR ? OR ?) IS NOT NULL)"],
        };
        Tree::filled(self.dice.word(&templates), parts)
    }

    fn in_list(&mut self, class: Class, scope: &Scope, depth: u32) -> Vec<Tree> {
        let left = self.expression(class, scope, depth);
        let mut items = Vec::new();
        for _ in 0..1 + self.dice.below(4) {
            items.push(match self.dice.below(10) {
                0 => Tree::text("NULL"),
                1 => self.expression(class, scope, 0),
                _ => Tree::text(constant(class, &mut self.dice)),
            });
        }
        Tree::filled(self.dice.word(&["(? IN (?))", "(? IN (?))", "(? NOT IN (?))"]), vec![left, Tree::commas(items)])
    }

    fn row_comparison(&mut self, scope: &Scope) -> Vec<Tree> {
        let classes = [self.class_in(scope), self.class_in(scope)];
        let mut row = || classes.iter().map(|class| self.expression(*class, scope, 0)).collect::<Vec<_>>();
        let (left, right, more) = (row(), row(), row());
        let operator = self.dice.word(&["=", "<>", "<", "<=>", ">=", "IN"]);
        if operator == "IN" {
            return Tree::filled("((?, ?) IN ((?, ?), (?, ?)))", [left, right, more].concat());
        }
        Tree::filled(&format!("((?, ?) {operator} (?, ?))"), [left, right].concat())
    }
}
