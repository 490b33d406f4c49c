// The exports of a package's entry that have no doc comment.

import { readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import ts from 'typescript';

/**
 * 'path: name' of each export of the file at `path` that has no doc comment; re-exports are followed inside the package.
 * One comment is enough for the merged declarations of a name (interface and class, overloads).
 */
export function undocumentedExports(path, names) {
  const source = ts.createSourceFile(path, readFileSync(path, 'utf8'), ts.ScriptTarget.Latest, true);
  const reExported = source.statements.filter(ts.isExportDeclaration).flatMap((statement) => {
    const from = statement.moduleSpecifier?.text;
    if (!from?.startsWith('.') || !statement.exportClause) return [];
    const exported = statement.exportClause.elements.map((e) => (e.propertyName ?? e.name).text);
    return undocumentedExports(normalize(join(dirname(path), from)), new Set(exported));
  });
  const declared = source.statements.filter((s) =>
    s.modifiers?.some((m) => m.kind === ts.SyntaxKind.ExportKeyword),
  );
  const isDocumented = (statement) => ts.getJSDocCommentsAndTags(statement).length > 0;
  const documented = new Set(declared.filter(isDocumented).flatMap(namesOf));
  const bare = new Set(
    declared.flatMap(namesOf).filter((n) => !documented.has(n) && (!names || names.has(n))),
  );
  return [...reExported, ...[...bare].map((n) => `${path}: ${n}`)];
}

const namesOf = (statement) =>
  (statement.declarationList?.declarations ?? [statement]).map((d) => d.name.text);
