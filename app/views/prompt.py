from promptlearn_app.prompt import page

page()
