//! Where in a file changes can be chosen while the program runs.

use std::collections::HashMap;
use std::ops::Range;

use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use crate::list::Mutant;

/// How a place of the source chooses among changes.
pub enum Choice {
    /// An expression: as it stands, or with these bytes replaced.
    Expression,
    /// A function, whose first statement returns something else.
    Function,
    /// A pattern, behind which a guard says no.
    Arm,
}

pub struct Site {
    pub range: Range<usize>,
    pub choice: Choice,
    /// Indices into the list.
    pub mutants: Vec<usize>,
}

struct Places<'a> {
    /// Changes by genre and the first byte that they replace.
    by_start: HashMap<(&'a str, usize), Vec<usize>>,
    sites: Vec<Site>,
}

/// The sites of a file. Changes that have none are those of constants, patterns and `let` chains.
pub fn find(source: &str, mutants: &[Mutant], file: &str) -> Vec<Site> {
    let mut by_start = HashMap::<_, Vec<_>>::new();
    for (index, mutant) in mutants
        .iter()
        .enumerate()
        .filter(|(_, mutant)| mutant.file == file)
    {
        by_start
            .entry((mutant.genre.as_str(), mutant.range.start))
            .or_default()
            .push(index);
    }
    let Ok(tree) = syn::parse_file(source) else {
        return Vec::new();
    };
    let mut places = Places {
        by_start,
        sites: Vec::new(),
    };
    places.visit_file(&tree);
    places.sites
}

impl Places<'_> {
    fn at(&mut self, genre: &'static str, start: usize) -> Vec<usize> {
        self.by_start.remove(&(genre, start)).unwrap_or_default()
    }

    fn add(&mut self, range: Range<usize>, choice: Choice, mutants: Vec<usize>) {
        if !mutants.is_empty() {
            self.sites.push(Site {
                range,
                choice,
                mutants,
            });
        }
    }

    fn function(&mut self, block: &syn::Block) {
        if let Some(first) = block.stmts.first() {
            let start = first.span().byte_range().start;
            let mutants = self.at("FnValue", start);
            self.add(start..start, Choice::Function, mutants);
        }
    }

    /// The operators of a chain of them, which are read by rank: a change can regroup all of it.
    fn operators(&mut self, binary: &syn::ExprBinary, found: &mut Vec<usize>) {
        let here = self.at("BinaryOperator", binary.op.span().byte_range().start);
        found.extend(here);
        for side in [&*binary.left, &*binary.right] {
            if let syn::Expr::Binary(binary) = side {
                self.operators(binary, found);
            }
        }
    }

    fn operands(&mut self, binary: &syn::ExprBinary) {
        for side in [&*binary.left, &*binary.right] {
            match side {
                syn::Expr::Binary(binary) => self.operands(binary),
                other => self.visit_expr(other),
            }
        }
    }
}

/// Whether a chain binds names, so that it can stand in a condition only.
fn has_let(binary: &syn::ExprBinary) -> bool {
    [&*binary.left, &*binary.right]
        .into_iter()
        .any(|side| match side {
            syn::Expr::Let(_) => true,
            syn::Expr::Binary(binary) => has_let(binary),
            _ => false,
        })
}

impl<'ast> Visit<'ast> for Places<'_> {
    fn visit_item_const(&mut self, _: &'ast syn::ItemConst) {}
    fn visit_impl_item_const(&mut self, _: &'ast syn::ImplItemConst) {}
    fn visit_trait_item_const(&mut self, _: &'ast syn::TraitItemConst) {}
    fn visit_item_static(&mut self, _: &'ast syn::ItemStatic) {}
    fn visit_expr_const(&mut self, _: &'ast syn::ExprConst) {}
    fn visit_expr_repeat(&mut self, repeat: &'ast syn::ExprRepeat) {
        self.visit_expr(&repeat.expr);
    }
    fn visit_type(&mut self, _: &'ast syn::Type) {}
    fn visit_pat(&mut self, _: &'ast syn::Pat) {}
    fn visit_generic_argument(&mut self, _: &'ast syn::GenericArgument) {}

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(&item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.function(&item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        let Some(block) = &item.default else { return };
        self.function(block);
        visit::visit_trait_item_fn(self, item);
    }

    fn visit_expr_binary(&mut self, binary: &'ast syn::ExprBinary) {
        if has_let(binary) {
            visit::visit_expr_binary(self, binary);
            return;
        }
        let mut found = Vec::new();
        self.operators(binary, &mut found);
        self.add(binary.span().byte_range(), Choice::Expression, found);
        self.operands(binary);
    }

    fn visit_expr_unary(&mut self, unary: &'ast syn::ExprUnary) {
        let found = self.at("UnaryOperator", unary.op.span().byte_range().start);
        self.add(unary.span().byte_range(), Choice::Expression, found);
        visit::visit_expr_unary(self, unary);
    }

    fn visit_expr_struct(&mut self, item: &'ast syn::ExprStruct) {
        let found = item
            .fields
            .iter()
            .flat_map(|field| self.at("StructField", field.span().byte_range().start))
            .collect();
        self.add(item.span().byte_range(), Choice::Expression, found);
        visit::visit_expr_struct(self, item);
    }

    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        let end = arm.pat.span().byte_range().end;
        let found = self.at("MatchArm", arm.span().byte_range().start);
        self.add(end..end, Choice::Arm, found);
        if let Some((_, guard)) = &arm.guard {
            let found = self.at("MatchArmGuard", guard.span().byte_range().start);
            self.add(guard.span().byte_range(), Choice::Expression, found);
        }
        visit::visit_arm(self, arm);
    }
}
