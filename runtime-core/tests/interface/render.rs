//! Signatures as Rust writes them, from what rustdoc has recorded.

use serde_json::Value;

use crate::Crate;

impl Crate {
    pub(crate) fn ty(&self, ty: &Value) -> String {
        let Some((kind, inner)) = ty.as_object().and_then(|ty| ty.iter().next()) else {
            return "_".to_owned();
        };
        match kind.as_str() {
            "primitive" | "generic" => text(inner).to_owned(),
            "resolved_path" => self.path(inner),
            "borrowed_ref" => {
                let lifetime = inner["lifetime"].as_str().map(|name| format!("{name} ")).unwrap_or_default();
                let mutable = if inner["is_mutable"] == true { "mut " } else { "" };
                format!("&{lifetime}{mutable}{}", self.ty(&inner["type"]))
            }
            "raw_pointer" => {
                let mutable = if inner["is_mutable"] == true { "mut" } else { "const" };
                format!("*{mutable} {}", self.ty(&inner["type"]))
            }
            "tuple" => format!("({})", self.each(inner, ", ", |ty| self.ty(ty))),
            "slice" => format!("[{}]", self.ty(inner)),
            "array" => format!("[{}; {}]", self.ty(&inner["type"]), text(&inner["len"])),
            "impl_trait" => format!("impl {}", self.bounds(inner)),
            "dyn_trait" => {
                let lifetime =
                    inner["lifetime"].as_str().map(|name| format!(" + {name}")).unwrap_or_default();
                format!(
                    "dyn {}{lifetime}",
                    self.each(&inner["traits"], " + ", |bound| self.path(&bound["trait"]))
                )
            }
            "function_pointer" => self.signature("fn", &inner["sig"]),
            "qualified_path" => format!("{}::{}", self.ty(&inner["self_type"]), text(&inner["name"])),
            other => panic!("a type that is new in rustdoc: {other}"),
        }
    }

    /// A type of this crate or of the standard library by its name, of another one by its whole path.
    pub(crate) fn path(&self, path: &Value) -> String {
        let summary = &self.json["paths"][path["id"].to_string()];
        let name = match summary["crate_id"].as_u64() {
            Some(0) | None => text(&path["path"]).rsplit("::").next().unwrap_or_default().to_owned(),
            // The standard library is known, but for its names that are ours too.
            Some(_) => match list(&summary["path"]) {
                [origin, .., name] if ["alloc", "core", "std"].contains(&text(origin)) => match text(name) {
                    "Error" | "Result" => format!("{}::{}", text(origin), text(name)),
                    name => name.to_owned(),
                },
                _ => self.each(&summary["path"], "::", |part| text(part).to_owned()),
            },
        };
        name + &self.arguments(&path["args"])
    }

    fn arguments(&self, args: &Value) -> String {
        if let Some(call) = args.get("parenthesized") {
            let output = if call["output"].is_null() {
                String::new()
            } else {
                format!(" -> {}", self.ty(&call["output"]))
            };
            return format!("({}){output}", self.each(&call["inputs"], ", ", |ty| self.ty(ty)));
        }
        let Some(brackets) = args.get("angle_bracketed") else { return String::new() };
        let mut parts: Vec<String> = Vec::new();
        for arg in list(&brackets["args"]) {
            parts.push(match arg.as_object().and_then(|arg| arg.iter().next()) {
                Some((kind, ty)) if kind == "type" => self.ty(ty),
                Some((kind, name)) if kind == "lifetime" => text(name).to_owned(),
                _ => arg.to_string(),
            });
        }
        for constraint in list(&brackets["constraints"]) {
            let value = &constraint["binding"]["equality"]["type"];
            let bound = &constraint["binding"]["constraint"];
            let right = if value.is_null() {
                format!(": {}", self.bounds(bound))
            } else {
                format!(" = {}", self.ty(value))
            };
            parts.push(format!("{}{right}", text(&constraint["name"])));
        }
        if parts.is_empty() { String::new() } else { format!("<{}>", parts.join(", ")) }
    }

    fn bounds(&self, bounds: &Value) -> String {
        self.each(bounds, " + ", |bound| match bound.get("trait_bound") {
            Some(bound) => {
                let question = if bound["modifier"] == "maybe" { "?" } else { "" };
                format!("{question}{}", self.path(&bound["trait"]))
            }
            None => bound["outlives"].as_str().unwrap_or("_").to_owned(),
        })
    }

    /// `<T: Bound>`, without what stands for an `impl Trait`.
    pub(crate) fn generics(&self, generics: &Value) -> String {
        let mut parts = Vec::new();
        for parameter in list(&generics["params"]) {
            let ty = &parameter["kind"]["type"];
            if ty["is_synthetic"] == true {
                continue;
            }
            let bounds = self.bounds(&ty["bounds"]);
            let bounds = if bounds.is_empty() { bounds } else { format!(": {bounds}") };
            parts.push(format!("{}{bounds}", text(&parameter["name"])));
        }
        if parts.is_empty() { String::new() } else { format!("<{}>", parts.join(", ")) }
    }

    pub(crate) fn function(&self, name: &str, function: &Value) -> String {
        let header = &function["header"];
        let mut words = String::new();
        for word in ["const", "async", "unsafe"] {
            if header[format!("is_{word}")] == true {
                words += &format!("{word} ");
            }
        }
        let generics = self.generics(&function["generics"]);
        self.signature(&format!("{words}fn {name}{generics}"), &function["sig"])
    }

    fn signature(&self, front: &str, sig: &Value) -> String {
        let inputs = self.each(&sig["inputs"], ", ", |input| {
            let (name, ty) = (text(&input[0]), self.ty(&input[1]));
            match (name, ty.as_str()) {
                ("self", "Self") => "self".to_owned(),
                ("self", "&Self") => "&self".to_owned(),
                ("self", "&mut Self") => "&mut self".to_owned(),
                _ => format!("{name}: {ty}"),
            }
        });
        let output =
            if sig["output"].is_null() { String::new() } else { format!(" -> {}", self.ty(&sig["output"])) };
        format!("{front}({inputs}){output}")
    }

    fn each(&self, values: &Value, separator: &str, write: impl Fn(&Value) -> String) -> String {
        list(values).iter().map(write).collect::<Vec<_>>().join(separator)
    }
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}
