//! From text to syntax trees, in the words of the engine that gets the text.
//!
//! Two constructs of ours are unknown to the parser's SQLite dialect and are put into other words before parsing, token by token, so that texts in quotes
//! stay as they are: `AS MATERIALIZED (` becomes `AS (`, and `GLOB` becomes `LIKE`. No rule depends on either.

use okaeri::db::Dialect;
use sqlparser::ast::Statement;
use sqlparser::dialect::{PostgreSqlDialect, SQLiteDialect};
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, Tokenizer};

/// How deep a statement may nest.
const NESTING_MAX: usize = 2_000;

/// The statements of a text; an error says why there are none.
pub(super) fn statements(sql: &str, dialect: Dialect) -> Result<Vec<Statement>, String> {
    let grammar: &dyn sqlparser::dialect::Dialect = match dialect {
        Dialect::Sqlite => &SQLiteDialect {},
        Dialect::Postgres => &PostgreSqlDialect {},
    };
    let told = |e: &dyn std::fmt::Display| format!("the lint cannot parse it for {dialect:?}: {e}");
    let mut tokens = Tokenizer::new(grammar, sql).tokenize().map_err(|e| told(&e))?;
    tokens.retain(|t| !matches!(t, Token::Whitespace(_)));
    if dialect == Dialect::Sqlite {
        tokens = reworded(tokens);
    }
    let mut parser = Parser::new(grammar).with_recursion_limit(NESTING_MAX).with_tokens(tokens);
    parser.parse_statements().map_err(|e| told(&e))
}

fn reworded(tokens: Vec<Token>) -> Vec<Token> {
    let mut out: Vec<Token> = Vec::with_capacity(tokens.len());
    for token in tokens {
        let keyword = keyword(&token);
        if keyword == Some(Keyword::MATERIALIZED) && out.last().and_then(self::keyword) == Some(Keyword::AS) {
            continue;
        }
        out.push(if keyword == Some(Keyword::GLOB) { Token::make_keyword("LIKE") } else { token });
    }
    out
}

fn keyword(token: &Token) -> Option<Keyword> {
    match token {
        Token::Word(word) if word.quote_style.is_none() => Some(word.keyword),
        _ => None,
    }
}
