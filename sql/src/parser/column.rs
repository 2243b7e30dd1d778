//! Types and columns.

use super::ast::{DataType, Expr};
use super::core::Parser;
use super::lexer::Kind;
use super::statement::ColumnDefinition;
use crate::error::{Error, Result};

impl Parser<'_> {
    /// A type in a cast.
    pub fn cast_type(&mut self) -> Result<DataType> {
        let named = |name: &str| DataType { name: name.to_string(), ..DataType::default() };
        if let Some(word) = self.eat_any(&["SIGNED", "UNSIGNED"]) {
            self.eat_any(&["INTEGER", "INT"]);
            return Ok(DataType { unsigned: word == "UNSIGNED", ..named("signed") });
        }
        const CASTS: &[&str] = &[
            "BINARY",
            "CHAR",
            "CHARACTER",
            "NCHAR",
            "NATIONAL",
            "DATE",
            "TIME",
            "DATETIME",
            "YEAR",
            "DECIMAL",
            "DEC",
            "REAL",
            "DOUBLE",
            "FLOAT",
            "JSON",
        ];
        if !self.is_any(CASTS) {
            return self.error();
        }
        let start = self.position();
        let word = self.any_word()?;
        let mut ty = named(self.type_name(&word)?);
        ty.charset = national(&word);
        if ty.name == "varchar" {
            self.rewind(start);
            return self.error();
        }
        self.type_lengths(&mut ty)?;
        if ty.name == "float" && ty.length.is_some_and(|digits| digits > 53) {
            let digits = ty.length.unwrap_or_default();
            return Err(Error::cast_precision_too_big(digits));
        }
        if ty.name == "char" {
            self.charset_attributes(&mut ty)?;
        }
        if self.is_word("ARRAY") {
            return Err(Error::unsupported("ARRAY"));
        }
        Ok(ty)
    }

    /// A type with its attributes.
    pub fn data_type(&mut self) -> Result<DataType> {
        let start = self.position();
        let word = self.any_word()?;
        let mut ty = DataType { name: self.type_name(&word)?.to_string(), ..DataType::default() };
        ty.charset = national(&word);
        if ty.name.is_empty() {
            self.rewind(start);
            return self.error();
        }
        if matches!(word.as_str(), "BOOL" | "BOOLEAN") {
            ty.length = Some(1);
        }
        match ty.name.as_str() {
            "enum" | "set" => ty.elements = self.parenthesized(|p| p.list(Self::string))?,
            "serial" => return Ok(ty),
            _ => self.type_lengths(&mut ty)?,
        }
        self.type_attributes(&mut ty)?;
        Ok(ty)
    }

    /// `(length, decimals)`, or nothing.
    fn type_lengths(&mut self, ty: &mut DataType) -> Result<()> {
        if !self.eat_symbol("(") {
            return Ok(());
        }
        ty.length = Some(self.small_integer()?);
        if self.eat_symbol(",") {
            ty.decimals = Some(self.small_integer()?);
        }
        self.expect_symbol(")")
    }

    /// A cast's character set.
    fn charset_attributes(&mut self, ty: &mut DataType) -> Result<()> {
        while self.charset_attribute(ty)? {}
        Ok(())
    }

    /// One spelling of a character set, or BINARY; false where none stands.
    fn charset_attribute(&mut self, ty: &mut DataType) -> Result<bool> {
        if self.eat("BINARY") {
            ty.binary = true;
        } else if self.eat_words(&["CHARACTER", "SET"]) || self.eat("CHARSET") || self.eat_words(&["CHAR", "SET"]) {
            ty.charset = Some(self.charset_name()?);
        } else if self.eat("BYTE") {
            ty.charset = Some("binary".to_string());
        } else if self.eat("ASCII") {
            ty.charset = Some("latin1".to_string());
        } else if self.eat("UNICODE") {
            ty.charset = Some("ucs2".to_string());
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// MySQL's own name of the type that `word` (and what follows) spells; empty when it is none.
    fn type_name(&mut self, word: &str) -> Result<&'static str> {
        let varying = |p: &mut Self, plain, varying| if p.eat("VARYING") { varying } else { plain };
        Ok(match word {
            "TINYINT" | "INT1" | "BOOL" | "BOOLEAN" => "tinyint",
            "SMALLINT" | "INT2" => "smallint",
            "MEDIUMINT" | "INT3" | "MIDDLEINT" => "mediumint",
            "INT" | "INTEGER" | "INT4" => "int",
            "BIGINT" | "INT8" => "bigint",
            "DECIMAL" | "DEC" | "NUMERIC" | "FIXED" => "decimal",
            "FLOAT" | "FLOAT4" => "float",
            "REAL" if self.options.real_as_float => "float",
            "DOUBLE" | "FLOAT8" | "REAL" => {
                self.eat("PRECISION");
                "double"
            }
            "BIT" => "bit",
            "CHAR" | "CHARACTER" | "NCHAR" => varying(self, "char", "varchar"),
            "NATIONAL" if self.eat("VARCHAR") => "varchar",
            "NATIONAL" => {
                self.eat_any(&["CHAR", "CHARACTER"]);
                varying(self, "char", "varchar")
            }
            "VARCHAR" | "VARCHARACTER" | "NVARCHAR" => "varchar",
            "BINARY" => "binary",
            "VARBINARY" => "varbinary",
            "TINYTEXT" => "tinytext",
            "TEXT" => "text",
            "MEDIUMTEXT" => "mediumtext",
            "LONGTEXT" => "longtext",
            "TINYBLOB" => "tinyblob",
            "BLOB" => "blob",
            "MEDIUMBLOB" => "mediumblob",
            "LONGBLOB" => "longblob",
            "LONG" if self.eat("VARBINARY") => "mediumblob",
            "LONG" => {
                self.eat("VARCHAR");
                "mediumtext"
            }
            "DATE" => "date",
            "DATETIME" => "datetime",
            "TIMESTAMP" => "timestamp",
            "TIME" => "time",
            "YEAR" => "year",
            "ENUM" => "enum",
            "SET" => "set",
            "JSON" => "json",
            "SERIAL" => "serial",
            "GEOMETRY" | "POINT" | "LINESTRING" | "POLYGON" | "MULTIPOINT" | "MULTILINESTRING" | "MULTIPOLYGON"
            | "GEOMETRYCOLLECTION" => return Err(Error::unsupported("spatial types")),
            _ => "",
        })
    }

    fn type_attributes(&mut self, ty: &mut DataType) -> Result<()> {
        loop {
            if self.eat("UNSIGNED") {
                ty.unsigned = true;
            } else if self.eat("SIGNED") {
            } else if self.eat("ZEROFILL") {
                ty.zerofill = true;
                ty.unsigned = true;
            } else if self.eat("COLLATE") {
                ty.collation = Some(self.charset_name()?);
            } else if !self.charset_attribute(ty)? {
                return Ok(());
            }
        }
    }

    /// `name type attributes`.
    pub fn column_definition(&mut self) -> Result<ColumnDefinition> {
        let name = self.identifier()?;
        let ty = self.data_type()?;
        let mut column = ColumnDefinition { name, ty, ..ColumnDefinition::default() };
        if column.ty.name == "serial" {
            column.ty = DataType { name: "bigint".to_string(), unsigned: true, ..DataType::default() };
            (column.not_null, column.auto_increment, column.unique) = (Some(true), true, true);
        }
        while self.column_attribute(&mut column)? {}
        Ok(column)
    }

    fn column_attribute(&mut self, column: &mut ColumnDefinition) -> Result<bool> {
        if self.eat_words(&["NOT", "NULL"]) {
            column.not_null = Some(true);
        } else if self.eat("NULL") {
            column.not_null = Some(false);
        } else if self.eat("DEFAULT") {
            // Not `expr`: `DEFAULT 1 NOT NULL` must stop before NOT. A COLLATE behind the value is the column's.
            column.default = Some(match self.operators(8)? {
                Expr::Collate(value, collation) => {
                    column.ty.collation = Some(collation);
                    *value
                }
                value => value,
            });
        } else if self.eat_words(&["ON", "UPDATE"]) {
            column.on_update_now = Some(self.now_digits()?);
        } else if self.eat("AUTO_INCREMENT") {
            column.auto_increment = true;
        } else if self.eat("UNIQUE") {
            self.eat("KEY");
            column.unique = true;
        } else if self.eat_words(&["PRIMARY", "KEY"]) || self.eat("KEY") {
            column.primary = true;
        } else if self.eat("COMMENT") {
            column.comment = Some(self.string()?);
        } else if self.eat("COLLATE") {
            column.ty.collation = Some(self.charset_name()?);
        } else if self
            .eat_any(&["COLUMN_FORMAT", "STORAGE", "ENGINE_ATTRIBUTE", "SECONDARY_ENGINE_ATTRIBUTE"])
            .is_some()
        {
            self.eat_symbol("=");
            self.advance();
        } else if self.eat_any(&["VISIBLE", "CLUSTERED", "NONCLUSTERED"]).is_some() {
        } else if self.eat("INVISIBLE") {
            return Err(Error::unsupported("INVISIBLE columns"));
        } else if self.eat("SRID") {
            self.integer()?;
        } else if self.is_any(&["GENERATED", "AS"]) {
            self.eat_words(&["GENERATED", "ALWAYS"]);
            self.expect("AS")?;
            self.skip_parentheses()?;
            self.eat_any(&["VIRTUAL", "STORED", "PERSISTENT"]);
            column.generated = true;
        } else if self.is_word("REFERENCES") {
            self.references()?;
            column.references = true;
        } else if self.is_any(&["CHECK", "CONSTRAINT"]) {
            if self.eat("CONSTRAINT") && !self.is_word("CHECK") {
                self.identifier()?;
            }
            self.expect("CHECK")?;
            self.skip_parentheses()?;
            self.eat("NOT");
            self.eat("ENFORCED");
            column.check = true;
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// CURRENT_TIMESTAMP or a synonym; its fractional digits.
    fn now_digits(&mut self) -> Result<u32> {
        if self.eat_any(&["CURRENT_TIMESTAMP", "NOW", "LOCALTIME", "LOCALTIMESTAMP"]).is_none() {
            return self.error();
        }
        if !self.eat_symbol("(") {
            return Ok(0);
        }
        let digits = if matches!(self.kind(), Kind::Integer) { self.small_integer()? } else { 0 };
        self.expect_symbol(")")?;
        Ok(digits)
    }

    /// REFERENCES t (a) ON DELETE …: read past.
    pub fn references(&mut self) -> Result<()> {
        self.expect("REFERENCES")?;
        self.object_name()?;
        if self.is_symbol("(") {
            self.skip_parentheses()?;
        }
        if self.eat("MATCH") {
            self.advance();
        }
        while self.eat("ON") {
            if self.eat_any(&["DELETE", "UPDATE"]).is_none() {
                return self.error();
            }
            if !(self.eat_words(&["SET", "NULL"])
                || self.eat_words(&["SET", "DEFAULT"])
                || self.eat_words(&["NO", "ACTION"]))
                && self.eat_any(&["CASCADE", "RESTRICT"]).is_none()
            {
                return self.error();
            }
        }
        Ok(())
    }
}

/// The character set of NCHAR and its like.
fn national(word: &str) -> Option<String> {
    matches!(word, "NCHAR" | "NVARCHAR" | "NATIONAL").then(|| "utf8mb3".to_string())
}
