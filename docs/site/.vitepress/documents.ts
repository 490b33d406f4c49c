// The documents of docs/: lists of a folder's, and links of theirs to what is no page of the site.

import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { MarkdownOptions } from 'vitepress';

const docs = fileURLToPath(new URL('../../', import.meta.url));

/** Title and address of each document of a folder below docs/, in the order of their names. */
export function documents(folder: string): { text: string; link: string }[] {
  return readdirSync(join(docs, folder))
    .filter((name) => name.endsWith('.md'))
    .sort()
    .map((name) => {
      const title = /^# (.+)$/m.exec(readFileSync(join(docs, folder, name), 'utf8'))?.[1];
      return { text: title ?? name, link: `/${folder}/${name.slice(0, -'.md'.length)}` };
    });
}

/**
 * Where a relative link of a document leads on the site: a folder of documents to its first one, undefined for files
 * that are no page, as sources are. What is not there stays as it is, for VitePress to refuse.
 */
function onTheSite(document: string, href: string): string | undefined {
  const target = resolve(dirname(document), href.split('#')[0]!);
  if (!existsSync(target)) return href;
  const path = relative(docs, target).split(sep).join('/');
  if (path.startsWith('..')) return undefined;
  if (statSync(target).isDirectory()) return documents(path)[0]?.link;
  return path.endsWith('.md') && !path.startsWith('demo/') ? href : undefined;
}

/** Markdown-it plugin: a link to what is no page of the site becomes its words alone. */
export const linksToSource: NonNullable<MarkdownOptions['config']> = (md) => {
  md.core.ruler.push('links-to-source', ({ tokens, env }) => {
    const document = (env as { realPath?: string; path: string }).realPath ?? (env as { path: string }).path;
    for (const { children } of tokens) {
      let plain = false;
      for (const token of children ?? []) {
        if (token.type === 'link_open') {
          const href = token.attrGet('href') ?? '';
          const place = /^([a-z]+:|[#/])/.test(href) ? href : onTheSite(document, href);
          plain = place === undefined;
          if (place !== undefined) token.attrSet('href', place);
        }
        if (plain && /^link_/.test(token.type)) {
          if (token.type === 'link_close') plain = false;
          token.type = 'text';
          token.tag = '';
          token.nesting = 0;
          token.content = '';
        }
      }
    }
  });
};
