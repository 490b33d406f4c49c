// The exports of a package's entry that have no doc comment.

import { readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import ts from 'typescript';

/** 'path: name' of each export of the file at `path` that has no doc comment; re-exports are followed inside the package. */
export function undocumentedExports(path, names) {
  const source = ts.createSourceFile(path, readFileSync(path, 'utf8'), ts.ScriptTarget.Latest, true);
  return source.statements.flatMap((statement) => {
    if (ts.isExportDeclaration(statement)) {
      const from = statement.moduleSpecifier?.text;
      if (!from?.startsWith('.') || !statement.exportClause) return [];
      const exported = statement.exportClause.elements.map((e) => (e.propertyName ?? e.name).text);
      return undocumentedExports(normalize(join(dirname(path), from)), new Set(exported));
    }
    if (!statement.modifiers?.some((m) => m.kind === ts.SyntaxKind.ExportKeyword)) return [];
    if (ts.getJSDocCommentsAndTags(statement).length > 0) return [];
    const declared = statement.declarationList?.declarations ?? [statement];
    return declared
      .map((d) => d.name.text)
      .filter((n) => !names || names.has(n))
      .map((n) => `${path}: ${n}`);
  });
}
