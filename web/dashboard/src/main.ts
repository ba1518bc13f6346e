import '@gate/shared/base.css';
import { mount } from 'svelte';
import App from './App.svelte';
import { followPreferences } from './preferences.svelte.ts';

const target = document.getElementById('app');
if (!target) throw new Error('index.html has no #app');
followPreferences();
mount(App, { target });
