// The site: pages/ of this package at its root, and the documents of docs/ beside them, where they lie.

import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitepress';
import { writeReference } from './api.ts';
import { documents, linksToSource } from './documents.ts';

/** Pages of this package in a language, by the words of their titles. */
const own = (base: string, words: readonly string[]) =>
  [
    'getting-started',
    'memory-and-speed',
    'browser',
    'from-python',
    'backends',
    'environment',
    'schedulers',
    'recipes',
    'troubleshooting',
  ].flatMap((page, i) => (words[i] === undefined ? [] : [{ text: words[i], link: `${base}/${page}` }]));

const guides = [
  { text: 'Pipelines', link: '/pipelines' },
  { text: 'The command', link: '/command' },
  { text: 'Numerics', link: '/numerics' },
  { text: 'Performance', link: '/performance' },
  { text: 'Architecture', link: '/architecture' },
  { text: 'Follow conv2d', link: '/follow-conv2d' },
];
const additions = [
  { text: 'Add an op', link: '/add-an-op' },
  { text: 'Add a model', link: '/add-a-model' },
  { text: 'Add a backend', link: '/add-a-backend' },
  { text: 'Verify on a GPU', link: '/verify-on-a-gpu' },
];
const english = own('', [
  'Getting started',
  'Memory and speed',
  'In a page',
  'Coming from Python',
  'Backends',
  'Environment variables',
  'Schedulers',
  'Recipes',
  'Troubleshooting',
]);

export default defineConfig({
  title: 'Darkroom',
  description: 'Stable Diffusion in TypeScript, on CPU, WebGPU and CUDA',
  srcDir: '..',
  srcExclude: ['demo/**', 'site/*.md', 'site/node_modules/**', 'results/data/**'],
  rewrites: { 'site/pages/:rest*': ':rest*' },
  outDir: 'dist',
  cacheDir: '.cache/vitepress',
  cleanUrls: false,
  buildEnd: ({ outDir }) => writeReference(join(outDir, 'api')),
  markdown: { config: linksToSource },
  vite: {
    plugins: [
      {
        // Pages lie outside of this package, whose Vue they need.
        name: 'darkroom:vue',
        enforce: 'pre',
        resolveId(id, importer, options) {
          if (!/^vue(\/|$)/.test(id) || importer?.includes('/node_modules/')) return null;
          return this.resolve(id, fileURLToPath(import.meta.url), { ...options, skipSelf: true });
        },
      },
    ],
  },
  locales: {
    root: { label: 'English', lang: 'en' },
    ko: {
      label: '한국어',
      lang: 'ko',
      description: 'TypeScript로 만든 Stable Diffusion: CPU, WebGPU, CUDA',
      themeConfig: {
        nav: [
          { text: '시작하기', link: '/ko/getting-started' },
          { text: '메모리와 속도', link: '/ko/memory-and-speed' },
        ],
        sidebar: [
          { text: '사용하기', items: own('/ko', ['시작하기', '메모리와 속도']) },
          { text: '영어 문서', items: [...english.slice(2), ...guides] },
        ],
        outline: { label: '이 페이지에서' },
        docFooter: { prev: '이전', next: '다음' },
        darkModeSwitchLabel: '화면 모드',
        lightModeSwitchTitle: '밝은 화면으로',
        darkModeSwitchTitle: '어두운 화면으로',
        sidebarMenuLabel: '차례',
        returnToTopLabel: '맨 위로',
        langMenuLabel: '언어',
      },
    },
  },
  head: [['link', { rel: 'icon', href: 'data:,' }]],
  themeConfig: {
    // Most pages are in English only: the other language begins at its first page.
    i18nRouting: false,
    search: {
      provider: 'local',
      options: {
        locales: {
          ko: {
            translations: {
              button: { buttonText: '검색', buttonAriaLabel: '검색' },
              modal: {
                noResultsText: '결과가 없습니다:',
                resetButtonTitle: '지우기',
                footer: { selectText: '선택', navigateText: '이동', closeText: '닫기' },
              },
            },
          },
        },
      },
    },
    nav: [
      { text: 'Getting started', link: '/getting-started' },
      { text: 'Memory and speed', link: '/memory-and-speed' },
      { text: 'Pipelines', link: '/pipelines' },
      { text: 'API', link: '/api/index.html', target: '_self' },
    ],
    sidebar: [
      { text: 'Using it', items: english },
      { text: 'Guides', items: guides },
      { text: 'Extending it', items: additions },
      { text: 'Decisions', collapsed: true, items: documents('decisions') },
      { text: 'Results', collapsed: true, items: documents('results') },
    ],
    outline: [2, 3],
  },
});
