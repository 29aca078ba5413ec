//! The table of options as a tree, to find what is known at a path.

use super::{Group, OptionSpec};
use crate::settings::options::values::Kind;

/// The options of one configuration file.
#[derive(Debug)]
pub struct Registry {
    pub(super) groups: Vec<&'static Group>,
    pub(super) root: Node,
}

/// What may stand for a component of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pattern {
    Literal(&'static str),
    Prefix(&'static str),
    Any,
    /// Decimal digits.
    Number,
}

impl Pattern {
    fn of(component: &'static str) -> Self {
        match component.strip_suffix('*') {
            _ if component == "<number>" => Self::Number,
            _ if component.starts_with('<') => Self::Any,
            Some(prefix) => Self::Prefix(prefix),
            None => Self::Literal(component),
        }
    }

    fn matches(self, name: &str) -> bool {
        match self {
            Self::Literal(literal) => literal == name,
            // The daemon finds `local*` and the like in any case.
            Self::Prefix(prefix) => name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix)),
            Self::Any => true,
            Self::Number => !name.is_empty() && name.bytes().all(|digit| digit.is_ascii_digit()),
        }
    }
}

/// One place in the tree.
#[derive(Debug, Default)]
pub(super) struct Node {
    children: Vec<(Pattern, Self)>,
    /// The key of this path.
    option: Option<OptionSpec>,
    /// The section of this path, if it has a description of its own.
    is_section: bool,
    /// Covers everything below.
    pub(super) rest: Option<OptionSpec>,
}

impl Registry {
    pub(super) fn new(groups: impl IntoIterator<Item = &'static [Group]>) -> Self {
        let groups: Vec<&'static Group> = groups.into_iter().flatten().collect();
        let mut root = Node { is_section: true, ..Node::default() };
        for group in &groups {
            root.open(group.prefix).is_section = true;
            for option in group.options {
                root.open(group.prefix).add(option);
            }
        }
        Self { groups, root }
    }

    /// Every option with the path of its group, in the order of the table.
    pub fn options(&self) -> impl Iterator<Item = (&'static str, &'static OptionSpec)> {
        self.groups.iter().flat_map(|group| group.options.iter().map(move |option| (group.prefix, option)))
    }

    /// The option that is set by the key at `path`.
    pub fn option(&self, path: &str) -> Option<&OptionSpec> {
        let (section, key) = path.rsplit_once('.').unwrap_or(("", path));
        let mut node = &self.root;
        for name in section.split('.').filter(|name| !name.is_empty()) {
            match node.section(name) {
                Some(next) => node = next,
                None => return node.rest.as_ref(),
            }
        }
        node.key(key)
    }
}

impl Node {
    /// Follows a path of the table, making what is missing.
    fn open(&mut self, path: &'static str) -> &mut Self {
        path.split('.').filter(|component| !component.is_empty()).fold(self, Self::open_one)
    }

    fn open_one<'a>(node: &'a mut Self, component: &'static str) -> &'a mut Self {
        node.is_section = true;
        let pattern = Pattern::of(component);
        let position = node.children.iter().position(|(known, _)| *known == pattern);
        let position = position.unwrap_or_else(|| {
            node.children.push((pattern, Self::default()));
            node.children.len() - 1
        });
        // The position was just found or made; this arm exists because the compiler cannot know.
        match node.children.get_mut(position) {
            Some((_, child)) => child,
            None => unreachable!("a child that was just added is there"),
        }
    }

    fn add(&mut self, option: &'static OptionSpec) {
        if let Some(section) = option.name.strip_suffix("**") {
            let node = self.open(section);
            node.rest = Some(*option);
            node.is_section = true;
        } else if option.kind == Kind::Section {
            self.open(option.name).is_section = true;
        } else {
            self.open(option.name).option = Some(*option);
        }
    }

    fn find(&self, name: &str, accept: impl Fn(&Self) -> bool) -> Option<&Self> {
        let find = |literal: bool| {
            self.children.iter().find(|(pattern, node)| {
                matches!(pattern, Pattern::Literal(_)) == literal && pattern.matches(name) && accept(node)
            })
        };
        find(true).or_else(|| find(false)).map(|(_, node)| node)
    }

    /// What is below the section `name`.
    pub(super) fn section(&self, name: &str) -> Option<&Self> {
        self.find(name, |node| node.is_section)
    }

    /// The option of the key `name`.
    pub(super) fn key(&self, name: &str) -> Option<&OptionSpec> {
        self.find(name, |node| node.option.is_some()).and_then(|node| node.option.as_ref()).or(self.rest.as_ref())
    }

    /// Names of the keys here, for suggestions.
    pub(super) fn key_names(&self) -> impl Iterator<Item = &'static str> {
        self.names(|node| node.option.is_some())
    }

    /// Names of the sections here, for suggestions; prefixes without the star.
    pub(super) fn section_names(&self) -> impl Iterator<Item = &'static str> {
        self.names(|node| node.is_section)
    }

    fn names(&self, accept: impl Fn(&Self) -> bool) -> impl Iterator<Item = &'static str> {
        self.children.iter().filter(move |(_, node)| accept(node)).filter_map(|(pattern, _)| match pattern {
            Pattern::Literal(name) | Pattern::Prefix(name) => Some(*name),
            Pattern::Any | Pattern::Number => None,
        })
    }
}
