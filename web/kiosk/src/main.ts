import { mount } from 'svelte';
import App from './App.svelte';
import './kiosk.css';
import { closeTheWaysOut } from './locked.ts';

const target = document.getElementById('app');
if (!target) throw new Error('index.html has no #app');
closeTheWaysOut(document);
mount(App, { target });
