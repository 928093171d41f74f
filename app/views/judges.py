from promptlearn_app.judges import page

page()
