// The imports of TypeScript files, of every kind: values, types, re-exports, import(), `import('…').T`.

import { readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import ts from 'typescript';

/** Every module that the text of a file names, as it names it. */
export function specifiersOf(text, path = 'file.ts') {
  const out = [];
  const visit = (node) => {
    const named =
      ts.isImportDeclaration(node) || ts.isExportDeclaration(node)
        ? node.moduleSpecifier
        : ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword
          ? node.arguments[0]
          : ts.isImportTypeNode(node)
            ? node.argument.literal
            : undefined;
    if (named && ts.isStringLiteralLike(named)) out.push(named.text);
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile(path, text, ts.ScriptTarget.Latest));
  return out;
}

/** path → the files that it imports by a relative path; paths are from `root`. */
export function graphOf(root, paths) {
  return new Map(
    paths.map((path) => {
      const relative = specifiersOf(readFileSync(join(root, path), 'utf8'), path).filter((s) =>
        s.startsWith('.'),
      );
      return [path, relative.map((s) => normalize(join(dirname(path), s)))];
    }),
  );
}

/** The first circle found from each file, as lists of paths that begin and end with the same; each circle once. */
export function circlesOf(graph) {
  const circles = [];
  const done = new Set();
  const visit = (path, trail) => {
    const at = trail.indexOf(path);
    if (at >= 0) return void circles.push([...trail.slice(at), path]);
    if (done.has(path)) return;
    for (const next of graph.get(path) ?? []) visit(next, [...trail, path]);
    done.add(path);
  };
  for (const path of graph.keys()) visit(path, []);
  return circles;
}
